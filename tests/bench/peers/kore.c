/*
 * The benchmark's agent tick as a page of Kore 4.1, in its one worker. A timer
 * for each stream would be searched for among all others whenever one is set,
 * so there is one of 1 ms for all, which turns a wheel. A run without an
 * interval fills the socket whenever that is empty.
 *
 * There is no relay: Debian's Kore is built without its HTTP client.
 *
 *     cc -O2 -shared -fPIC -o kore.so tests/bench/peers/kore.c
 *     sed -e "s|@PORT@|8080|" -e "s|@DIR@|$PWD|" tests/bench/peers/kore.conf.in > kore.conf
 *     kore -f -n -r -q -c kore.conf
 */
#include <kore/kore.h>

#include <kore/http.h>

#include <inttypes.h>
#include <time.h>

#define SLOTS 4096 /* of 1 ms */

/* Each is a chunk; as n has 7 digits in both places, its length does not change. */
#define TOKEN                                                                            \
    "61\r\nid: %07d\nevent: token\ndata: {\"n\":\"%07d\",\"t\":\"%" PRId64 "\",\"pad\":" \
    "\"xxxxxxxxxxxxxxxxx\"}\n\n\r\n"
#define DONE "29\r\nevent: done\ndata: {\"status\":\"finished\"}\n\n\r\n0\r\n\r\n"

struct run {
    struct http_request *req;
    u_int64_t due;
    int events, interval_ms, n;
    u_int16_t closes; /* CONN_CLOSE_EMPTY, if the connection ends with the run */
    LIST_ENTRY(run) list;
};

int tick(struct http_request *);

static LIST_HEAD(, run) wheel[SLOTS];
static u_int64_t turned; /* the first ms that has not been looked at; 0 before the first run */

static void emit(struct run *run)
{
    struct timespec now;
    char chunk[128];
    int length;

    clock_gettime(CLOCK_REALTIME, &now);
    run->n++;
    length = snprintf(chunk, sizeof chunk, TOKEN, run->n, run->n,
                      (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    net_send_queue(run->req->owner, chunk, (size_t)length);
}

static void emit_due(struct run *run)
{
    struct connection *c = run->req->owner;

    if (c == NULL || c->state == CONN_STATE_DISCONNECTING || run->n == run->events)
        return; /* leave() comes */
    emit(run);
    run->due += (u_int64_t)run->interval_ms;
    LIST_REMOVE(run, list);
    LIST_INSERT_HEAD(&wheel[run->due % SLOTS], run, list);
    if (run->n == run->events)
        http_request_wakeup(run->req); /* tick() ends it */
    else if (!net_send_flush(c))
        kore_connection_disconnect(c);
}

static void turn(void *arg, u_int64_t now)
{
    struct run *run, *next;

    (void)arg;
    for (; turned <= now; turned++) {
        for (run = LIST_FIRST(&wheel[turned % SLOTS]); run; run = next) {
            next = LIST_NEXT(run, list);
            if (run->due == turned)
                emit_due(run);
        }
    }
}

static void leave(struct http_request *req)
{
    struct run *run = http_state_get(req);

    if (run->interval_ms)
        LIST_REMOVE(run, list);
}

static void enter(struct run *run)
{
    run->due = kore_time_ms() + (u_int64_t)run->interval_ms;
    LIST_INSERT_HEAD(&wheel[run->due % SLOTS], run, list);
    if (turned == 0) {
        turned = kore_time_ms();
        kore_timer_add(turn, 1, NULL, 0);
    }
    http_request_sleep(run->req);
}

static struct run *begin(struct http_request *req)
{
    struct run *run = http_state_create(req, sizeof *run, leave);
    struct kore_json_item *events, *interval;
    struct kore_json json;
    char body[256];
    ssize_t length = http_body_read(req, body, sizeof body);

    run->req = req;
    kore_json_init(&json, body, length > 0 ? (size_t)length : 0);
    if (kore_json_parse(&json) && (events = kore_json_find_integer_u64(json.root, "events")) &&
        (interval = kore_json_find_integer_u64(json.root, "interval_ms"))) {
        run->events = (int)events->data.u64;
        run->interval_ms = (int)interval->data.u64;
    }
    kore_json_cleanup(&json);
    return run;
}

/* With the head sent, Kore would close, or read the next request: both wait for the end. */
static void send_head(struct run *run)
{
    struct connection *c = run->req->owner;

    run->req->flags |= HTTP_REQUEST_NO_CONTENT_LENGTH;
    http_response_header(run->req, "content-type", "text/event-stream");
    http_response_header(run->req, "transfer-encoding", "chunked");
    c->flags |= CONN_IS_BUSY;
    http_response(run->req, HTTP_STATUS_OK, NULL, 0);
    run->closes = c->flags & CONN_CLOSE_EMPTY;
    c->flags &= ~(CONN_CLOSE_EMPTY | CONN_IS_BUSY);
}

/* Called first with the request, and again whenever it does not sleep. */
int tick(struct http_request *req)
{
    struct connection *c = req->owner;
    struct run *run = http_state_get(req);

    if (run == NULL) {
        run = begin(req);
        send_head(run);
        if (!net_send_flush(c))
            return KORE_RESULT_ERROR;
        if (run->interval_ms && run->events)
            enter(run);
    }
    while (run->interval_ms == 0 && run->n < run->events && TAILQ_EMPTY(&c->send_queue)) {
        for (int i = 0; i < 512 && run->n < run->events; i++)
            emit(run);
        if (!net_send_flush(c))
            return KORE_RESULT_ERROR;
    }
    if (run->n < run->events)
        return KORE_RESULT_RETRY;
    net_send_queue(c, DONE, sizeof DONE - 1);
    c->flags |= run->closes;
    if (!run->closes)
        http_start_recv(c);
    return KORE_RESULT_OK;
}
