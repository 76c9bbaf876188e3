#include "../case.h"
#include "base/log.h"
#include "base/log_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Standard error is a pipe, a socket or a file that nobody reads until a case does. */
static int held, reader;
static char text[2 * 1024 * 1024];
static size_t text_length;

static void take_standard_error(int fd)
{
    held = dup(STDERR_FILENO);
    ck_assert_int_ge(dup2(fd, STDERR_FILENO), 0);
    close(fd);
    log_open("tester", "", LOG_DEBUG);
    text_length = 0;
    text[0] = '\0';
}

static void setup_pipe(void)
{
    int fds[2];

    ck_assert_int_eq(pipe(fds), 0);
    fcntl(fds[1], F_SETPIPE_SZ, 4096);
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    reader = fds[0];
    take_standard_error(fds[1]);
    log_detach();
}

static void setup_socket(void)
{
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    reader = fds[0];
    take_standard_error(fds[1]);
    log_detach();
}

/* A pipe that may not be opened again. */
static void setup_pipe_of_another(void)
{
    int fds[2];

    if (geteuid() == 0) {
        ck_assert_int_eq(pipe(fds), 0);
        fcntl(fds[1], F_SETPIPE_SZ, 4096);
        fcntl(fds[0], F_SETFL, O_NONBLOCK);
        reader = fds[0];
        take_standard_error(fds[1]);
        ck_assert_int_eq(seteuid(65534), 0);
        ck_assert_int_lt(open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK), 0);
        log_detach();
    } else {
        setup_pipe();
    }
}

static void teardown(void)
{
    log_close(0);
    if (geteuid() == 65534 && seteuid(0) < 0)
        abort();
    dup2(held, STDERR_FILENO);
    close(held);
    close(reader);
}

/* Read what is there. */
static void take(void)
{
    ssize_t length;

    while ((length = read(reader, text + text_length, sizeof text - 1 - text_length)) > 0)
        text_length += (size_t)length;
    text[text_length] = '\0';
}

/* Read until nothing is queued. */
static void take_all(void)
{
    size_t before;

    do {
        before = text_length;
        take();
        log_flush();
    } while (text_length > before);
}

/* Check that the text has these lines "n=0", "n=1", … from `at` on; return the number after the
 * last, where other lines begin. */
static unsigned check_numbers(const char **at, unsigned from)
{
    for (;; from++) {
        char wanted[64];
        size_t skip = strlen("2026-01-31T12:00:00.123Z ");
        const char *end = strchr(*at, '\n');
        snprintf(wanted, sizeof wanted, "info tester a line n=%u\n", from);
        if (end == NULL || strncmp(*at + skip, wanted, strlen(wanted)) != 0)
            return from;
        *at = end + 1;
    }
}

CASES("pipe", .setup = setup_pipe, .teardown = teardown);
CASES("pipe of another user", .setup = setup_pipe_of_another, .teardown = teardown);
CASES("socket", .setup = setup_socket, .teardown = teardown);

CASE(lines_are_written_at_once)
{
    const char *at = text;

    log_info("a line n=%d", 0);
    take();
    ck_assert_uint_eq(check_numbers(&at, 0), 1);
    ck_assert_str_eq(at, "");
}

CASE(lines_wait_for_a_reader_in_order)
{
    const char *at = text;

    for (unsigned n = 0; n < 3000; n++)
        log_info("a line n=%u", n);
    ck_assert_uint_eq(log_lost(), 0);
    take_all();
    ck_assert_uint_eq(check_numbers(&at, 0), 3000);
    ck_assert_str_eq(at, "");
}

/* More than all queues hold: the first lines come, then the number of the lost ones, then what is
 * logged when there is room again. */
CASE(lost_lines_are_told)
{
    char wanted[128];
    unsigned count = 20000, first;
    const char *at = text;

    for (unsigned n = 0; n < count; n++)
        log_info("a line n=%u", n);
    ck_assert_uint_gt(log_lost(), 0);
    take_all();
    log_info("a line n=%u", 7);
    take_all();
    first = check_numbers(&at, 0);
    ck_assert_uint_eq(first + log_lost(), count);
    snprintf(wanted, sizeof wanted,
             " warn tester log lines lost, because standard error was not read lines=%llu\n",
             (unsigned long long)log_lost());
    ck_assert_ptr_nonnull(strstr(at, wanted));
    at = strchr(at, '\n') + 1;
    ck_assert_uint_eq(check_numbers(&at, 7), 8);
    ck_assert_str_eq(at, "");
}

/* A reader that is too slow finds lines in order, and each hole told at its place. */
CASE(slow_reader)
{
    unsigned n = 0, next = 0;
    unsigned long long lost, told = 0;
    const char *at = text;

    while (n < 30000) {
        for (int i = 0; i < 500; i++)
            log_info("a line n=%u", n++);
        for (int i = 0; i < 3; i++) {
            ssize_t length = read(reader, text + text_length, 4096);
            text_length += length > 0 ? (size_t)length : 0;
            log_flush();
        }
    }
    take_all();
    while (*at) {
        next = check_numbers(&at, next);
        if (*at == '\0')
            break;
        ck_assert_int_eq(sscanf(strstr(at, " lines="), " lines=%llu", &lost), 1);
        at = strchr(at, '\n') + 1;
        next += (unsigned)lost;
        told += lost;
    }
    ck_assert_uint_eq(told, log_lost());
    ck_assert_uint_eq(next, n);
}

CASE(end_waits_only_so_long)
{
    for (unsigned n = 0; n < 20000; n++)
        log_info("a line n=%u", n);
    log_close(20);
    take();
    ck_assert_uint_gt(text_length, 0);
}

CASE(reader_that_is_gone)
{
    signal(SIGPIPE, SIG_IGN);
    close(reader);
    for (unsigned n = 0; n < 10; n++)
        log_info("a line n=%u", n);
    ck_assert_uint_eq(log_lost(), 10);
    reader = dup(held);
}

/* In a child, whose parent reads when the child is at it. */
CASE(fatal_line_waits_for_its_reader)
{
    struct rlimit no_core = {0, 0};
    pid_t child = fork();
    int status;

    ck_assert_int_ge(child, 0);
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &no_core);
        for (unsigned n = 0; n < 20000; n++)
            log_info("a line n=%u", n);
        log_fatal("out of %s", "luck");
    }
    fcntl(reader, F_SETFL, 0);
    close(STDERR_FILENO);
    log_close(0);
    take();
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status));
    ck_assert_ptr_nonnull(strstr(text, " fatal tester out of luck\n"));
}

CASES("shared", .setup = setup_pipe, .teardown = teardown);

/* Whoever shares standard error may rely on writes that wait. */
CASE(description_of_others_is_left_alone)
{
    log_info("a line n=%d", 0);
    ck_assert_int_eq(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
}

CASES("", );

CASE(file_is_written_where_others_write)
{
    char path[] = "/tmp/test_log.XXXXXX";
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    unlink(path);
    reader = dup(fd);
    take_standard_error(fd);
    log_detach();
    ck_assert_int_eq(write(STDERR_FILENO, "before\n", 7), 7);
    log_say(LOG_INFO, "in between");
    ck_assert_int_eq(write(STDERR_FILENO, "after\n", 6), 6);
    ck_assert_int_gt(pread(reader, text, sizeof text - 1, 0), 0);
    ck_assert_str_eq(text, "before\nsluice: in between\nafter\n");
    teardown();
}

CASE(full_disk)
{
    int fd = open("/dev/full", O_WRONLY);

    if (fd < 0)
        return;
    reader = dup(fd);
    take_standard_error(fd);
    log_detach();
    log_info("a line n=%d", 0);
    log_info("a line n=%d", 1);
    ck_assert_uint_eq(log_lost(), 2);
    teardown();
}
