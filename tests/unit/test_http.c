#include "../case.h"
#include "base/why.h"
#include "http/answer.h"
#include "http/http.h"
#include "http/listeners.h"
#include "http/request.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* More bytes than the sockets buffer. */
#define FLOOD (16 * 1024 * 1024)

static uv_loop_t loop;
static struct http *http;
static in_port_t port;
static int client;

static struct http_request *request; /* the last request */
static int opened, half_closed, left;
static bool answers_fin; /* with a heartbeat */
static const struct iovec heartbeat = {(void *)"~", 1};
static char client_address[64];

static void on_opened(void *data)
{
    (void)data;
    opened++;
}

static void on_writable(void *data)
{
    (void)data;
}

static void on_left(void *data)
{
    (void)data;
    left++;
}

static void on_half_closed(void *data)
{
    (void)data;
    half_closed++;
    if (answers_fin)
        http_stream_send(request, &heartbeat, 1, false, &(size_t){0});
}

static const struct http_stream_handler stream = {on_opened, on_writable, on_half_closed, on_left};

/* Answer each request with a stream. */
static void on_request(void *data, struct http_request *arrived)
{
    (void)data;
    request = arrived;
    strcpy(client_address, http_client_address(arrived));
    http_stream(arrived, "text/plain", &stream, NULL);
}

static void on_request_resets(void *data, struct http_request *arrived)
{
    on_request(data, arrived);
    http_stream_reset(arrived);
}

static struct listeners *listen_on(int family)
{
    const char *name = family == AF_INET6 ? "[::]:0" : "127.0.0.1:0";
    struct listeners *listeners;
    struct why why = {0};

    ck_assert_int_eq(listeners_open(name, "", 0600, &listeners, &why), 0);
    port = (in_port_t)atoi(strrchr(listeners_names(listeners), ':') + 1);
    return listeners;
}

static enum http_admission admit(void *data, struct http_request *asked)
{
    (void)data;
    (void)asked;
    return HTTP_WITH_BODY;
}

static void serve(int family, void (*handle)(void *data, struct http_request *asked))
{
    static struct http_handler handler = {.admit = admit};
    struct http_settings settings = {.listeners = listen_on(family),
                                     .max_connections = 10,
                                     .stall_s = 10,
                                     .timeout_s = 10,
                                     .request_timeout_s = 10,
                                     .max_headers = 8192,
                                     .max_body = 1000};

    handler.handle = handle;
    ck_assert_int_eq(http_create(&loop, &settings, &handler, NULL, &http), 0);
}

static void setup(void)
{
    uv_loop_init(&loop);
    opened = half_closed = left = 0;
    answers_fin = true;
    client = -1;
}

static void teardown(void)
{
    http_destroy(http);
    http = NULL;
    close(client);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}

static void ask(const char *version)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char text[64];
    int length = snprintf(text, sizeof text, "GET / HTTP/%s\r\nHost: h\r\n\r\n", version);

    to.sin_port = htons(port);
    client = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(client, (struct sockaddr *)&to, sizeof to), 0);
    ck_assert_int_eq(write(client, text, (size_t)length), length);
    fcntl(client, F_SETFL, O_NONBLOCK);
}

/* Run the loop until the client can read or its connection ends; return what read() returns. */
static ssize_t client_read(char *out, size_t size)
{
    ssize_t length;

    do
        uv_run(&loop, UV_RUN_NOWAIT);
    while ((length = read(client, out, size)) < 0 && errno == EAGAIN);
    return length;
}

/* Open a stream that is not watched yet. */
static void open_only(const char *version)
{
    ask(version);
    while (!opened)
        uv_run(&loop, UV_RUN_NOWAIT);
}

static void open_stream(const char *version)
{
    open_only(version);
    ck_assert_int_eq(http_stream_watch(request), 0);
}

/* Read until the connection ends, which must be by a reset. */
static void expect_reset(void)
{
    static char bytes[1 << 16];
    ssize_t length;

    while ((length = client_read(bytes, sizeof bytes)) > 0)
        continue;
    ck_assert_int_eq(length, -1);
    ck_assert_int_eq(errno, ECONNRESET);
}

static void check_reset(const char *version)
{
    struct iovec piece = {"hello", 5};
    size_t sent;

    serve(AF_INET, on_request);
    open_stream(version);
    ck_assert_int_eq(http_stream_send(request, &piece, 1, false, &sent), 0);
    http_stream_reset(request);
    expect_reset();
    while (http_open_requests(http) > 0)
        uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert_int_eq(left, 0);
}

CASES("http", .setup = setup, .teardown = teardown);

CASE(stream_is_reset)
{
    check_reset("1.1");
}

CASE(stream_without_chunks_is_reset)
{
    check_reset("1.0");
}

CASE(stream_is_reset_before_its_headers_are_out)
{
    serve(AF_INET, on_request_resets);
    ask("1.1");
    expect_reset();
    while (http_open_requests(http) > 0)
        uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert_int_eq(opened, 0);
    ck_assert_int_eq(left, 0);
}

CASE(unsent_bytes_become_fewer_as_the_client_reads)
{
    char *flood = calloc(1, FLOOD), bytes[4096];
    struct iovec piece = {flood, FLOOD};
    size_t sent, unsent;

    serve(AF_INET, on_request);
    open_stream("1.1");
    ck_assert_int_eq(http_stream_send(request, &piece, 1, false, &sent), -EAGAIN);
    ck_assert_uint_lt(sent, FLOOD);
    unsent = http_stream_unsent(request);
    ck_assert_uint_gt(unsent, 0);
    for (int i = 0; i < 10; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
        ck_assert_uint_eq(http_stream_unsent(request), unsent);
    }
    while (http_stream_unsent(request) == unsent)
        ck_assert_int_gt(client_read(bytes, sizeof bytes), 0);
    ck_assert_uint_lt(http_stream_unsent(request), unsent);
    free(flood);
}

CASE(client_has_an_ipv4_address)
{
    serve(AF_INET, on_request);
    open_stream("1.1");
    ck_assert_str_eq(client_address, "127.0.0.1");
}

CASE(client_has_an_ipv4_address_on_an_ipv6_socket)
{
    serve(AF_INET6, on_request);
    open_stream("1.1");
    ck_assert_str_eq(client_address, "127.0.0.1");
}

/* left() is called when the watch begins, whatever the client did before. */
CASE_LOOP(client_leaves_before_the_watch, 0, 3)
{
    static const struct linger hard = {.l_onoff = 1};
    struct iovec piece = {"hello", 5};
    size_t sent;

    serve(AF_INET, on_request);
    open_only("1.1");
    if (_i > 0)
        setsockopt(client, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(client);
    uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert_int_eq(left, 0);
    if (_i > 0)
        http_stream_send(request, &piece, 1, _i == 2, &sent);
    ck_assert_int_eq(http_stream_watch(request), 0);
    ck_assert_int_eq(http_stream_watch(request), 0);
    while (http_open_requests(http) > 0)
        uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert_int_eq(left, 1);
    client = socket(AF_INET, SOCK_STREAM, 0);
}

CASE(destroyed_before_the_watch)
{
    serve(AF_INET, on_request);
    open_only("1.1");
    http_destroy(http);
    http = NULL;
    ck_assert_int_eq(left, 1);
    expect_reset();
}

CASE(reset_before_the_watch)
{
    serve(AF_INET, on_request);
    open_only("1.1");
    http_stream_reset(request);
    expect_reset();
    while (http_open_requests(http) > 0)
        uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert_int_eq(left, 0);
}

/* Bytes that were held back leave with the end of the stream. */
CASE(last_bytes_leave_with_the_end)
{
    struct iovec piece = {"hello", 5};
    char bytes[4096] = "";
    size_t sent, length = 0;

    serve(AF_INET, on_request);
    open_only("1.1");
    ck_assert_int_eq(http_stream_send(request, &piece, 1, true, &sent), 0);
    http_stream_end(request);
    while (!strstr(bytes, "hello\r\n0\r\n\r\n")) {
        ssize_t got = client_read(bytes + length, sizeof bytes - length - 1);
        ck_assert_int_gt(got, 0);
        length += (size_t)got;
    }
}

/* Wait, with the body. */
static void on_request_waits(void *data, struct http_request *arrived)
{
    request = arrived;
    http_wait(arrived, &stream, data);
}

static void wait_for_request(const char *version)
{
    request = NULL;
    serve(AF_INET, on_request_waits);
    ask(version);
    while (!request)
        uv_run(&loop, UV_RUN_NOWAIT);
    for (int i = 0; i < 5; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
}

static void expect_answer(const char *end)
{
    char bytes[4096] = "";
    size_t length = 0;

    while (!strstr(bytes, end)) {
        ssize_t got = client_read(bytes + length, sizeof bytes - length - 1);
        ck_assert_int_gt(got, 0);
        length += (size_t)got;
    }
}

CASE(stream_after_waiting)
{
    struct iovec piece = {"hello", 5};
    size_t sent;

    wait_for_request("1.1");
    http_stream(request, "text/plain", &stream, NULL);
    while (!opened)
        uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert_int_eq(http_stream_send(request, &piece, 1, true, &sent), 0);
    http_stream_end(request);
    expect_answer("hello\r\n0\r\n\r\n");
    ck_assert_int_eq(left, 0);
}

CASE(stream_after_waiting_is_destroyed)
{
    wait_for_request("1.1");
    http_stream(request, "text/plain", &stream, NULL);
    http_destroy(http);
    http = NULL;
    ck_assert_int_eq(left, 1);
    ck_assert_int_eq(opened, 0);
    expect_reset();
}

static void on_other_left(void *data)
{
    (void)data;
    opened = -1;
}

static const struct http_stream_handler other = {.left = on_other_left};

/* Who waits last is told, and answers for all. */
CASE(waiting_anew)
{
    wait_for_request("1.1");
    http_wait(request, &other, NULL);
    close(client);
    while (http_open_requests(http) > 0)
        uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert_int_eq(opened, -1);
    ck_assert_int_eq(left, 0);
    client = socket(AF_INET, SOCK_STREAM, 0);
}

CASE(body_stays_while_the_request_waits)
{
    static const char rest[] = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nworld";
    struct buf body = {0};

    wait_for_request("1.1");
    buf_puts(&body, "first");
    http_reply(request, 200, "text/plain", &body);
    expect_answer("first");
    request = NULL;
    ck_assert_int_eq(write(client, rest, strlen(rest)), (ssize_t)strlen(rest));
    while (!request)
        uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(buf_length(http_body(request)), 5);
    ck_assert_mem_eq(buf_data(http_body(request)), "world", 5);
    http_drop_body(request);
    ck_assert_uint_eq(buf_length(http_body(request)), 0);
    buf_puts(&body, "second");
    http_reply(request, 200, "text/plain", &body);
    expect_answer("second");
}

/* Return the server's end of the client's connection. */
static int server_socket(void)
{
    struct sockaddr_in here, peer;

    getsockname(client, (struct sockaddr *)&here, &(socklen_t){sizeof here});
    for (int fd = 3; fd < 100; fd++) {
        socklen_t length = sizeof peer;
        if (getpeername(fd, (struct sockaddr *)&peer, &length) == 0 && peer.sin_family == AF_INET &&
            peer.sin_port == here.sin_port)
            return fd;
    }
    return -1;
}

/* The client half-closes and reads on, or leaves: what it is sent tells. */
CASE_LOOP(half_closed_while_streaming, 0, 2)
{
    struct iovec piece = {"hello", 5};
    size_t sent;

    answers_fin = _i == 0;
    serve(AF_INET, on_request);
    open_stream("1.1");
    shutdown(client, SHUT_WR);
    while (!half_closed)
        uv_run(&loop, UV_RUN_ONCE);
    for (int i = 0; i < 20; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert_int_eq(half_closed, 1);
    ck_assert_int_eq(left, 0);
    ck_assert_int_eq(http_stream_send(request, &piece, 1, true, &sent), 0);
    http_stream_end(request);
    expect_answer("hello\r\n0\r\n\r\n");
    ck_assert_int_eq(left, 0);
}

CASE(half_closed_client_leaves_later)
{
    answers_fin = false;
    serve(AF_INET, on_request);
    open_stream("1.1");
    expect_answer("\r\n\r\n"); /* what is left unread would be answered with a reset */
    shutdown(client, SHUT_WR);
    while (!half_closed)
        uv_run(&loop, UV_RUN_ONCE);
    close(client);
    client = -1;
    for (int i = 0; i < 20; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert_int_eq(left, 0);
    http_stream_send(request, &heartbeat, 1, false, &(size_t){0});
    while (!left)
        uv_run(&loop, UV_RUN_ONCE);
}

CASE(half_closed_while_waiting)
{
    struct buf body = {0};

    answers_fin = false;
    wait_for_request("1.1");
    shutdown(client, SHUT_WR);
    while (!half_closed)
        uv_run(&loop, UV_RUN_ONCE);
    buf_puts(&body, "the answer");
    http_reply(request, 200, "text/plain", &body);
    expect_answer("the answer");
    ck_assert_int_eq(left, 0);
}

/* Nobody is told of urgent data, and it does not keep the loop busy. */
CASE(urgent_data_of_a_half_closed_client)
{
    answers_fin = false;
    serve(AF_INET, on_request);
    open_stream("1.1");
    ck_assert_int_eq(send(client, "!", 1, MSG_OOB), 1);
    shutdown(client, SHUT_WR);
    while (!half_closed)
        uv_run(&loop, UV_RUN_ONCE);
    for (int i = 0; i < 20; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert_int_eq(recv(server_socket(), &(char){0}, 1, MSG_OOB), -1);
    ck_assert_int_eq(left, 0);
    http_stream_reset(request);
    expect_reset();
}

/* Milliseconds of silence after which the kernel gives the client up. */
static unsigned user_timeout(void)
{
    unsigned timeout = 0;
    socklen_t length = sizeof timeout;

    getsockopt(server_socket(), IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, &length);
    return timeout;
}

CASE(stall_is_that_of_the_last_setting)
{
    serve(AF_INET, on_request);
    open_stream("1.1");
    ck_assert_uint_eq(user_timeout(), 11000);
    http_set_stall(http, 7);
    ck_assert_uint_eq(user_timeout(), 8000);
}
