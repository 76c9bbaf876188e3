/*
 * swap_state: an agent that counts its runs, and hands the count over to the
 * next generation. Each swap_state_*.c is one version of it, and defines
 * SWAP_VERSION first.
 *
 *     {"until":PATH}
 *
 * emits
 *
 *     count {"runs":N,"version":"one","from":STATE}
 *
 * where STATE is what create() was given, null for none, and then waits, if
 * there is an until, for that file, emitting tick {"n":1} and so on.
 *
 * Its section of the configuration may say what save_state() does:
 *
 *     save   count      returns the state {"runs":N,"by":"one"}; the default
 *            none       returns NULL
 *            garbage    returns what is not JSON
 *            large      returns 2 MiB of JSON
 *            hang       never returns
 *            crash      dies
 */
#include <sluice/agent_json.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LARGE (2 * 1024 * 1024)

static cJSON *from; /* what create() was given; NULL for none */
static unsigned runs;
static char save[16];

static int create(const char *config, const char *state, void **self)
{
    cJSON *json = cJSON_Parse(config);

    (void)self;
    snprintf(save, sizeof save, "%s", json_string(json, "save", "count"));
    cJSON_Delete(json);
    from = state ? cJSON_Parse(state) : NULL;
    runs = (unsigned)json_number(from, "runs", 0);
    return 0;
}

static void destroy(void *self)
{
    (void)self;
    cJSON_Delete(from);
}

static char *large_state(void)
{
    char *text = malloc(LARGE + 1);

    if (text) {
        memset(text, 'x', LARGE);
        text[0] = text[LARGE - 1] = '"';
        text[LARGE] = '\0';
    }
    return text;
}

static char *count_state(void)
{
    char *text = malloc(128);

    if (text)
        snprintf(text, 128, "{ \"runs\": %u, \"by\": \"" SWAP_VERSION "\" }", runs);
    return text;
}

static char *save_state(void *self)
{
    (void)self;
    if (strcmp(save, "none") == 0)
        return NULL;
    if (strcmp(save, "garbage") == 0)
        return strdup("{\"runs\":");
    if (strcmp(save, "large") == 0)
        return large_state();
    if (strcmp(save, "crash") == 0)
        abort();
    while (strcmp(save, "hang") == 0)
        pause();
    return count_state();
}

static int emit_count(void)
{
    cJSON *json = cJSON_CreateObject();

    cJSON_AddNumberToObject(json, "runs", ++runs);
    cJSON_AddStringToObject(json, "version", SWAP_VERSION);
    cJSON_AddItemToObject(json, "from", from ? cJSON_Duplicate(from, 1) : cJSON_CreateNull());
    return emit_json("count", json);
}

static int wait_until(const char *path)
{
    char json[32];
    int status = 0;

    for (unsigned n = 1; status == 0 && access(path, F_OK) != 0; n++) {
        snprintf(json, sizeof json, "{\"n\":%u}", n);
        status = emit_event("tick", json);
        if (status == 0)
            status = agent_sleep(10);
    }
    return status;
}

static int handle(void *self, const char *input)
{
    cJSON *json = cJSON_Parse(input);
    const char *until = json_string(json, "until", NULL);
    int status = emit_count();

    (void)self;
    if (status == 0 && until)
        status = wait_until(until);
    cJSON_Delete(json);
    return status;
}
