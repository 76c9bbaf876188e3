#include "../case.h"
#include "base/json.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int held, reader;
static char line[LOG_LINE_MAX + 1];

static void setup(void)
{
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    held = dup(STDERR_FILENO);
    ck_assert_int_ge(dup2(pair[1], STDERR_FILENO), 0);
    close(pair[1]);
    reader = pair[0];
    log_open("tester", "", LOG_DEBUG);
    log_detach();
    log_set(LOG_DEBUG, LOG_JSON);
}

static void teardown(void)
{
    log_close(0);
    dup2(held, STDERR_FILENO);
    close(held);
    close(reader);
}

/* Return the members after the time of the line that was written, which must be JSON. */
static const char *members(void)
{
    static const char start[] = "{\"time\":\"2026-01-31T12:00:00.123Z\",\"level\":";
    ssize_t length = recv(reader, line, sizeof line - 1, MSG_DONTWAIT);

    ck_assert_int_gt(length, (ssize_t)sizeof start);
    line[length] = '\0';
    ck_assert_ptr_eq(strchr(line, '\n'), line + length - 1);
    line[length - 1] = '\0';
    ck_assert_msg(json_check(line, strlen(line)) == (ssize_t)strlen(line), "%s", line);
    return line + strlen("{\"time\":\"2026-01-31T12:00:00.123Z\",");
}

CASES("json", .setup = setup, .teardown = teardown);

CASE(keys_are_members)
{
    log_info("worker ready plugin=%s generation=%lu pid=%d", "echo", 3ul, 4711);
    ck_assert_str_eq(members(), "\"level\":\"info\",\"module\":\"tester\",\"message\":\"worker "
                                "ready\",\"plugin\":\"echo\",\"generation\":3,\"pid\":4711}");
}

CASE(message_without_keys)
{
    log_warn("it is 100%% full");
    ck_assert_str_eq(members(), "\"level\":\"warn\",\"module\":\"tester\",\"message\":\"it is 100% "
                                "full\"}");
}

CASE(keys_in_the_midst_stay_in_the_message)
{
    log_error("a=%d is odd: %s run=%s", 1, "why", "x");
    ck_assert_str_eq(members(), "\"level\":\"error\",\"module\":\"tester\",\"message\":\"a=1 is "
                                "odd: why\",\"run\":\"x\"}");
}

CASE(name_from_an_argument)
{
    log_plugin("worker died %s=%d keys=%.*s", "signal", 9, 2, "abc");
    ck_assert_str_eq(members(), "\"level\":\"plugin\",\"module\":\"tester\",\"message\":\"worker "
                                "died\",\"signal\":9,\"keys\":\"ab\"}");
}

/* Only the format tells keys apart, so no value forges one. */
CASE(forged_keys)
{
    log_info("%s plugin=%s", "x pid=1", "a pid=2\" \\");
    ck_assert_str_eq(members(), "\"level\":\"info\",\"module\":\"tester\",\"message\":\"x pid=1\","
                                "\"plugin\":\"a pid=2\\\" \\\\\"}");
}

CASE(number_that_is_negative)
{
    log_info("x a=%d b=%u", -5, 0u);
    ck_assert_ptr_nonnull(strstr(members(), ",\"a\":-5,\"b\":0}"));
}

CASE(hostile_text)
{
    log_info("%s", "\x1b[2J \x01\x7f \xc2\x9b \xe2\x80\xa8 \xe2\x80\xae \xff\xc3 \xed\xa0\x80 "
                   "\xf4\x90\x80\x80 gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\xe2");
    ck_assert_ptr_nonnull(strstr(
        members(), "\"message\":\"\\u001b[2J \\u0001\\u007f \\u009b \\u2028 \\u202e \\ufffd\\ufffd "
                   "\\ufffd\\ufffd\\ufffd \\ufffd\\ufffd\\ufffd\\ufffd gr\xc3\xbc\xc3\x9f "
                   "\xf0\x9f\x98\x80\\ufffd\"}"));
}

CASE_LOOP(any_byte_anywhere, 1, 256)
{
    char text[4] = {(char)_i, 'a', (char)_i, '\0'};

    log_info("%s key=%s", text, text);
    members();
}

CASE_LOOP(any_length, 0, 64)
{
    static const char fills[] = {'a', '\n', '"', '\xff'};
    char text[10000];
    size_t length = (size_t)(_i / 4) * 650;

    memset(text, fills[_i % 4], length);
    text[length] = '\0';
    log_info("%s key=%s", text, "value");
    members();
    log_info("x a=%s key=%s", text, "value");
    members();
}

CASE(line_for_people)
{
    log_say(LOG_INFO, "listening on %s", "here");
    ck_assert_str_eq(members(),
                     "\"level\":\"info\",\"module\":\"tester\",\"message\":\"listening on here\"}");
}

CASE(text_again)
{
    log_set(LOG_DEBUG, LOG_TEXT);
    log_info("%s key=%s", "\xc2\x9b\xff\xe2\x80\xae", "v");
    ck_assert_int_gt(recv(reader, line, sizeof line, MSG_DONTWAIT), 0);
    ck_assert_ptr_nonnull(strstr(line, "Z info tester \\xc2\\x9b\\xff\\xe2\\x80\\xae key=v\n"));
}

CASES("record", );

static size_t packed(const struct log_fact *fact, char *record, size_t size)
{
    size_t length = log_fact_pack(fact, record, size);

    ck_assert_uint_le(length, size);
    return length;
}

CASE(record_comes_back)
{
    struct log_fact fact = {.level = LOG_WARN, .message = "hello you", .length = 5}, back;
    char record[2048];

    log_fact_add(&fact, "run", "r1", false);
    log_fact_add(&fact, "count", "7", true);
    ck_assert(log_fact_unpack(&back, record, packed(&fact, record, sizeof record)));
    ck_assert_int_eq(back.level, LOG_WARN);
    ck_assert_uint_eq(back.length, 5);
    ck_assert_int_eq(memcmp(back.message, "hello", 6), 0);
    ck_assert_uint_eq(back.key_count, 2);
    ck_assert_str_eq(back.keys[0].name, "run");
    ck_assert_str_eq(back.keys[0].value, "r1");
    ck_assert(!back.keys[0].is_number);
    ck_assert(back.keys[1].is_number);
}

CASE(long_record_is_cut)
{
    static char text[9000];
    struct log_fact fact = {.message = text, .length = sizeof text}, back;
    char record[2048];

    memset(text, 'x', sizeof text);
    log_fact_add(&fact, "run", "r1", false);
    ck_assert(log_fact_unpack(&back, record, packed(&fact, record, sizeof record)));
    ck_assert_uint_gt(back.length, 1000);
    ck_assert_str_eq(back.keys[0].value, "r1");
}

/* Whoever writes records by himself cannot say who he is. */
CASE(keys_of_the_front_are_left_out)
{
    static const char record[] = "\4m\0=plugin\0other\0#pid\0001\0=level\0fatal\0=run\0r";
    struct log_fact back;

    ck_assert(log_fact_unpack(&back, record, sizeof record));
    ck_assert_uint_eq(back.key_count, 1);
    ck_assert_str_eq(back.keys[0].name, "run");
}

CASE(malformed_records)
{
    static const struct {
        const char *data;
        size_t length;
    } cases[] = {{"", 0},        {"\4", 1},         {"\4m", 2},        {"\6m\0", 3},
                 {"\xffm\0", 3}, {"\4m\0=a\0b", 6}, {"\4m\0=a\0", 6},  {"\4m\0?a\0b\0", 8},
                 {"\4m\0=", 4},  {"\4m\0=\0", 5},   {"\4m\0\0\0\0", 6}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct log_fact back;
        char *exact = malloc(cases[i].length + 1); /* sanitizers see what is read beyond */
        memcpy(exact, cases[i].data, cases[i].length);
        exact = realloc(exact, cases[i].length ? cases[i].length : 1);
        ck_assert_msg(!log_fact_unpack(&back, exact, cases[i].length), "%zu", i);
        free(exact);
    }
}
