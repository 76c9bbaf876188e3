#include "../case.h"
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define STAMP "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z "

/* Standard error is a socket that keeps writes apart while a case runs. */
static int held, sink;
static char line[16384];

static void setup(void)
{
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    held = dup(STDERR_FILENO);
    ck_assert_int_ge(dup2(pair[1], STDERR_FILENO), 0);
    close(pair[1]);
    sink = pair[0];
    log_open("tester", "", LOG_DEBUG);
}

static void teardown(void)
{
    dup2(held, STDERR_FILENO);
    close(held);
    close(sink);
}

static bool was_written(void)
{
    struct pollfd fd = {.fd = sink, .events = POLLIN};

    return poll(&fd, 1, 0) == 1;
}

/* Return the next write as a string; it must be one whole line. */
static const char *next_line(void)
{
    ssize_t length;

    ck_assert(was_written());
    length = recv(sink, line, sizeof line - 1, 0);
    ck_assert_int_gt(length, 0);
    line[length] = '\0';
    ck_assert_uint_eq(strlen(line), (size_t)length);
    ck_assert_ptr_eq(strchr(line, '\n'), line + length - 1);
    line[length - 1] = '\0';
    return line;
}

/* Return the next line without its time. */
static const char *next_fact(void)
{
    const char *text = next_line();

    ck_assert_uint_gt(strlen(text), 25);
    return text + 25;
}

CASES("log", .setup = setup, .teardown = teardown);

CASE(one_line)
{
    regex_t stamp;

    log_info("worker is %s pid=%d", "ready", 4711);
    ck_assert_int_eq(regcomp(&stamp, STAMP, REG_EXTENDED | REG_NOSUB), 0);
    ck_assert_msg(regexec(&stamp, next_line(), 0, NULL, 0) == 0, "%s", line);
    regfree(&stamp);
    ck_assert_str_eq(line + 25, "info tester worker is ready pid=4711");
    ck_assert(!was_written());
}

CASE(levels_have_names)
{
    log_error("x");
    ck_assert_str_eq(next_fact(), "error tester x");
    log_plugin("x");
    ck_assert_str_eq(next_fact(), "plugin tester x");
    log_warn("x");
    ck_assert_str_eq(next_fact(), "warn tester x");
    log_info("x");
    ck_assert_str_eq(next_fact(), "info tester x");
    log_debug("x");
    ck_assert_str_eq(next_fact(), "debug tester x");
}

CASE(levels_beyond_the_limit_are_left_out)
{
    log_open("tester", "", LOG_WARN);
    ck_assert_int_eq(log_limit(), LOG_WARN);
    log_debug("x");
    log_info("x");
    ck_assert(!was_written());
    log_warn("x");
    log_plugin("x");
    ck_assert_str_eq(next_fact(), "warn tester x");
    ck_assert_str_eq(next_fact(), "plugin tester x");
}

CASE(keys_stand_at_the_end)
{
    log_open("worker", "plugin=echo generation=3", LOG_INFO);
    log_info("it is ready");
    ck_assert_str_eq(next_fact(), "info worker it is ready plugin=echo generation=3");
}

CASE(opened_with_copies)
{
    char role[] = "worker", keys[] = "a=1";

    log_open(role, keys, LOG_INFO);
    role[0] = keys[0] = 'X';
    log_info("x");
    ck_assert_str_eq(next_fact(), "info worker x a=1");
}

CASE(empty_message)
{
    log_info("%s", "");
    ck_assert_str_eq(next_fact(), "info tester ");
}

CASE(control_bytes_are_escaped)
{
    char foreign[0x22], wanted[256] = "info tester ";
    size_t at = strlen(wanted);

    for (int c = 1; c < 0x20; c++) {
        foreign[c - 1] = (char)c;
        at += (size_t)snprintf(wanted + at, sizeof wanted - at, "\\x%02x", c);
    }
    strcpy(foreign + 0x1f, "\x7f!");
    strcpy(wanted + at, "\\x7f!");
    log_info("%s", foreign);
    ck_assert_str_eq(next_fact(), wanted);
}

CASE(forged_line)
{
    log_info("name=%s", "x\n2026-01-31T12:00:00.123Z error front all is lost");
    ck_assert_str_eq(next_fact(),
                     "info tester name=x\\x0a2026-01-31T12:00:00.123Z error front all is lost");
    ck_assert(!was_written());
}

CASE(control_bytes_in_keys_are_escaped)
{
    log_open("tester", "plugin=a\nb", LOG_INFO);
    log_info("x");
    ck_assert_str_eq(next_fact(), "info tester x plugin=a\\x0ab");
}

CASE(utf8_is_kept)
{
    log_info("%s", "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80");
    ck_assert_str_eq(next_fact(), "info tester gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80");
}

/* A message of any length, escaped or not, is one line, and its keys are kept. */
CASE(long_messages_stay_one_line)
{
    static const char fills[] = {'a', '\n'};
    char text[12000];

    log_open("tester", "key=value", LOG_INFO);
    for (size_t i = 0; i < 2 * sizeof text; i += 61) {
        const char *tail;
        memset(text, fills[i % 2], i / 2);
        text[i / 2] = '\0';
        log_info("%s", text);
        tail = next_line();
        ck_assert_str_eq(tail + strlen(tail) - strlen(" key=value"), " key=value");
        ck_assert_uint_le(strlen(tail), 4096 + 512);
    }
}

CASE(long_keys_and_role)
{
    char keys[400], role[100];

    memset(keys, '\x01', sizeof keys - 1);
    keys[sizeof keys - 1] = '\0';
    memset(role, 'r', sizeof role - 1);
    role[sizeof role - 1] = '\0';
    log_open(role, keys, LOG_INFO);
    for (int length = 0; length < 6000; length += 499) {
        log_info("%*s", length, "");
        next_line();
    }
}

CASE(errno_is_kept)
{
    errno = E2BIG;
    log_info("%m");
    ck_assert_int_eq(errno, E2BIG);
    ck_assert_str_eq(next_fact() + strlen("info tester "), strerror(E2BIG));
}

CASE(errno_is_kept_if_nobody_reads)
{
    close(STDERR_FILENO);
    errno = E2BIG;
    log_info("x");
    ck_assert_int_eq(errno, E2BIG);
}

CASE(fatal_says_why_and_aborts)
{
    struct rlimit no_core = {0, 0};
    pid_t child = fork();
    int status;

    ck_assert_int_ge(child, 0);
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &no_core);
        log_fatal("out of %s", "luck");
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGABRT);
    ck_assert_str_eq(next_fact(), "fatal tester out of luck");
}
