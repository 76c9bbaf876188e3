/*
 * Any text is a request's target, a header, an event's id, an address. The target's parts lie in
 * the room it was given; an id that is read is the id that is written; settings stay in range.
 */
#include "fuzz.h"

#include "api/request.h"
#include "base/networks.h"
#include "config/setting.h"
#include "http/framing.h"
#include "http/target.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check_target(const char *text)
{
    size_t room_size = TARGET_ROOM(strlen(text));
    char *room = malloc(room_size);
    struct target target;

    if (target_parse(text, room, &target) == NULL) {
        assert(strcmp(target.path, "/") == 0 ||
               (target.path >= room && target.path + strlen(target.path) < room + room_size));
        assert(target.query >= room && target.query <= target.end);
        assert(target.end <= room + room_size);
        for (const char *name = target_next(&target, NULL); name;
             name = target_next(&target, name)) {
            const char *value = target_value(name), *first = target_find(&target, name);

            assert(name >= target.query && value + strlen(value) < target.end);
            assert(first && first <= value);
        }
        target_find(&target, "after");
    }
    free(room);
}

/* The first byte says which headers there are, each with the rest as its value. */
static void check_framing(unsigned which, const char *text)
{
    static const char *const names[] = {"Host",    "Content-Length", "Transfer-Encoding",
                                        "X-Other", "host",           "content-length"};
    struct framing framing = {0};
    const struct framing_fault *fault;

    for (unsigned i = 0; i < 6; i++) {
        if (which >> i & 1)
            framing_add(&framing, names[i], text);
    }
    framing_add(&framing, text, "x");
    fault = framing_fault(&framing, which & 64);
    assert(fault == NULL || (fault->status >= 400 && fault->status < 600 && *fault->detail));
    framing_is_authority(text, strlen(text));
}

static void check_id(const char *text)
{
    struct position position;
    char again[RUN_ID_LENGTH + 24];

    if (position_read(text, &position) < 0)
        return;
    assert(strlen(position.run) == RUN_ID_LENGTH);
    snprintf(again, sizeof again, "%s.%" PRIu64, position.run, position.after);
    assert(strlen(again) <= strlen(text));
    assert(memcmp(again, text, RUN_ID_LENGTH + 1) == 0);
}

static void check_settings(const char *text)
{
    struct sockaddr_storage address;
    unsigned number;

    if (setting_number(text, 3, 70000, &number) == 0)
        assert(number >= 3 && number <= 70000);
    if (setting_disconnect(text, &number) == 0)
        assert(number <= DISCONNECT_SECONDS_MAX || number == DISCONNECT_CONTINUE);
    networks_destroy(networks_create(text));
    if (network_read(text, strlen(text), &address))
        assert(address.ss_family == AF_INET || address.ss_family == AF_INET6);
    setting_is_loopback(text);
    for (const char *word = text; setting_word(&word) > 0;)
        word += setting_word(&word);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text;

    if (size == 0)
        return 0;
    text = strndup((const char *)data + 1, size - 1);
    check_target(text);
    check_framing(*data, text);
    check_id(text);
    check_settings(text);
    free(text);
    return 0;
}
