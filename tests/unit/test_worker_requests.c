/* HTTP requests of a run that ends before their response. */
#include "../case.h"
#include "agent_http.h"
#include "worker_fixture.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* A server that never answers: the kernel makes the connection, and nobody accepts it. */
static char silent_url[64];

static int listen_silently(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(fd, 64), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    snprintf(silent_url, sizeof silent_url, "http://127.0.0.1:%d/", ntohs(address.sin_port));
    return fd;
}

static struct agent_http *open_silent(void)
{
    struct agent_http_request request = {.url = silent_url};
    struct agent_http *http = NULL;

    note_status(agent_http_open(&request, &http));
    return http;
}

static struct agent_http *silent;

/* Waits for a response that never comes, then uses the handle after its run is over. */
static void *wait_for_response(void *captured)
{
    const char *data;

    ctx_bind(captured);
    ctx_release(captured);
    atomic_store(&tasked[0].begun, true);
    note_status(agent_http_status(silent));
    note_status((int)agent_http_read(silent, &data));
    note_text(0, agent_http_header(silent, "x"));
    note_text(1, agent_http_error(silent));
    agent_http_close(silent);
    ctx_bind(NULL);
    return NULL;
}

static int agent_leaves_a_thread_to_a_request(void)
{
    struct agent_ctx *captured = ctx_capture();

    silent = open_silent();
    pthread_create(&notes.thread, NULL, wait_for_response, captured);
    while (!atomic_load(&tasked[0].begun))
        agent_sleep(1);
    for (int i = 0; i < 5; i++)
        agent_sleep(1);
    return 0;
}

CASES("requests on threads", .setup = setup_threads, .teardown = teardown);
CASES("requests on fibers", .setup = setup_fibers, .teardown = teardown);

CASE(bound_thread_waits_for_a_response_when_the_run_ends)
{
    int fd = listen_silently();

    run_agent(agent_leaves_a_thread_to_a_request);
    ck_assert(loop_comes_to_rest());
    pthread_join(notes.thread, NULL);
    expect_finished(1);
    ck_assert_int_eq(notes.status[0], 0);
    ck_assert_int_eq(notes.status[1], -ECANCELED);
    ck_assert_int_eq(notes.status[2], -ECANCELED);
    ck_assert_str_eq(notes.text[0], "none");
    ck_assert_str_eq(notes.text[1], "");
    close(fd);
}

static int agent_waits_for_responses(void)
{
    struct agent_http *first = open_silent();

    open_silent();
    emit_event("opened", "{}");
    note_status(agent_http_status(first));
    note_status(agent_http_open(&(struct agent_http_request){.url = silent_url}, &first));
    return 0;
}

CASE(cancelled_while_it_waits_for_a_response)
{
    int fd = listen_silently();

    start(1, agent_waits_for_responses);
    wait_for_events(1, 1);
    ck_assert(loop_comes_to_rest());
    worker_cancel(worker, 1);
    wait_for_end(1);
    expect_cancelled(1);
    ck_assert_int_eq(notes.status[2], -ECANCELED);
    ck_assert_int_eq(notes.status[3], -ECANCELED);
    close(fd);
}

/* Some transfers are under way, and some have not begun. */
CASE(quits_with_requests)
{
    int fd = listen_silently();

    for (uint32_t run = 1; run <= 4; run++)
        start(run, agent_waits_for_responses);
    worker_quit(worker);
    while (times_left == 0)
        uv_run(&loop, UV_RUN_ONCE);
    for (uint32_t run = 1; run <= 4; run++)
        expect_cancelled(run);
    close(fd);
}

static int task_waits_for_a_response(void *arg)
{
    struct agent_http *http = open_silent();

    atomic_store(&((struct task_note *)arg)->begun, true);
    return agent_http_status(http);
}

static int agent_fails_with_a_request(void)
{
    struct agent_task *task;

    task_spawn(task_waits_for_a_response, &tasked[0], &task);
    while (!atomic_load(&tasked[0].begun))
        agent_sleep(1);
    return -EIO;
}

CASE(failure_stops_a_task_that_waits_for_a_response)
{
    int fd = listen_silently();

    run_agent(agent_fails_with_a_request);
    ck_assert_int_eq(accounts[1].status, WIRE_FAILED);
    ck_assert_int_eq(notes.status[0], 0);
    close(fd);
}
