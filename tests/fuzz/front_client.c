/* Defines answer.h's functions in place of host/http: the linker then takes none of that room. */
#include "front_client.h"

#include "http/answer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Longest time until a client that sends no more is sent something. */
#define PROBE_MS 1000

/* Bytes in flight of a client that reads nothing. */
#define IN_FLIGHT 1000

struct http_request {
    struct truth *truth;
    bool document; /* it waits for the run's document */
    const struct http_stream_handler *handler;
    void *data;
    bool streaming, opening, watched, blocked;
    bool fin, fin_told; /* it sends no more, and the front knows */
    uint64_t probe_ms;  /* since when the front owes it bytes, to learn whether it has left; or 0 */
    bool closed;        /* it has left; the front learns that from a send, or a reset */
    bool reset;
    bool last; /* all is sent: the stream must end at once */
    bool watch_failed;
    bool answered; /* the front may not use the request any more */
    size_t room;
    size_t in_flight;
    struct buf due;    /* bytes with which the next send must begin */
    struct buf unread; /* of a frame that is not whole, or the document */
    uint64_t number;   /* of the last event that the client has */
    bool begun, done;
};

static struct http_request *clients[CLIENTS_MAX];
static bool watch_fails;

/* ---- what the client reads ---- */

/* Split `name` off a line's start; NULL if the line has another. */
static const char *field(const char *line, const char *end, const char *name)
{
    size_t length = strlen(name);

    return (size_t)(end - line) >= length && memcmp(line, name, length) == 0 ? line + length : NULL;
}

static uint64_t read_id(const char *id, const char *end)
{
    char digits[24] = "";

    LAW(end - id > RUN_ID_LENGTH + 1 && id[RUN_ID_LENGTH] == '.' &&
            (size_t)(end - id) < RUN_ID_LENGTH + sizeof digits,
        "an id is none");
    id += RUN_ID_LENGTH + 1;
    memcpy(digits, id, (size_t)(end - id));
    return strtoull(digits, NULL, 10);
}

static void read_gap(struct http_request *client, const char *json, size_t length, uint64_t number)
{
    unsigned long long from = 0, to = 0;
    char text[96] = "";

    LAW(length < sizeof text, "a gap is too long");
    memcpy(text, json, length);
    LAW(sscanf(text, "{\"from\":%llu,\"to\":%llu}", &from, &to) == 2, "a gap has another shape");
    LAW(from == client->number + 1 && to >= from, "a gap is not where the hole is");
    LAW(to == number && to <= client->truth->log->start.sequence &&
            (to < client->truth->count || !client->truth->done),
        "a gap hides what there is");
    client->number = to;
}

static void read_event(struct http_request *client, const char *type, const char *end)
{
    const char *type_end = memchr(type, '\n', (size_t)(end - type)), *json, *json_end, *id;
    uint64_t number;

    LAW(type_end && (json = field(type_end, end, "\ndata: ")), "an event has no data");
    json_end = memchr(json, '\n', (size_t)(end - json));
    LAW(json_end && (id = field(json_end, end, "\nid: ")), "an event has no id");
    number = read_id(id, end);
    if (type_end - type == 3 && memcmp(type, "gap", 3) == 0) {
        read_gap(client, json, (size_t)(json_end - json), number);
        return;
    }
    truth_check(client->truth, client->number + 1, number, type, (size_t)(type_end - type), json,
                (size_t)(json_end - json));
    client->number = number;
    client->done = type_end - type == 4 && memcmp(type, "done", 4) == 0;
}

static void read_frame(struct http_request *client, const char *frame, const char *end)
{
    const char *rest;

    LAW(!client->done, "bytes follow `done`");
    if (!client->begun) {
        LAW((rest = field(frame, end, "retry: 1000\nid: ")), "a stream has no beginning");
        LAW(read_id(rest, end) == client->number, "a stream begins at another event");
        client->begun = true;
    } else if ((rest = field(frame, end, "event: "))) {
        read_event(client, rest, end);
    } else {
        LAW(end - frame == 1 && *frame == ':', "a frame is none");
    }
}

static void read_bytes(struct http_request *client, const char *bytes, size_t length)
{
    const char *end;

    buf_append(&client->unread, bytes, length);
    while (!client->document &&
           (end = memmem(buf_data(&client->unread), buf_length(&client->unread), "\n\n", 2))) {
        read_frame(client, buf_data(&client->unread), end);
        buf_consume(&client->unread, (size_t)(end - buf_data(&client->unread)) + 2);
    }
}

/* ---- http.h ---- */

void http_stream(struct http_request *request, const char *content_type,
                 const struct http_stream_handler *handler, void *data)
{
    (void)content_type;
    LAW(!request->answered && !request->streaming, "a request is answered twice");
    request->handler = handler;
    request->data = data;
    request->streaming = request->opening = true;
}

int http_stream_watch(struct http_request *request)
{
    if (watch_fails) {
        watch_fails = false;
        request->watch_failed = true;
        return -ENOSPC;
    }
    request->watched = true;
    return 0;
}

static void check_due(struct http_request *request, const struct iovec *pieces, int count)
{
    const struct eventlog *log = request->truth->log;
    bool goes_on = buf_length(&request->due) > 0;

    for (int i = 0; i < count; i++) {
        size_t length = pieces[i].iov_len;

        if (length > buf_length(&request->due))
            length = buf_length(&request->due);
        LAW(length == 0 || memcmp(buf_data(&request->due), pieces[i].iov_base, length) == 0,
            "a send does not go on where the last one stopped");
        buf_consume(&request->due, length);
        /* TLS takes the same bytes again, no more; only frames of dropped events are added. */
        LAW(!goes_on || length == pieces[i].iov_len || request->document ||
                log->start.sequence > request->number,
            "a send goes on with more than what was left");
    }
    LAW(buf_length(&request->due) == 0, "a send does not go on with all that was left");
}

int http_stream_send(struct http_request *request, const struct iovec *pieces, int count, bool last,
                     size_t *sent)
{
    LAW(!request->answered && !request->opening, "a stream is used when it must not be");
    LAW(!request->last, "a stream sends more after its last bytes");
    check_due(request, pieces, count);
    request->probe_ms = 0;
    *sent = 0;
    if (request->closed) {
        request->reset = true;
        return -EPIPE;
    }
    for (int i = 0; i < count; i++) {
        size_t length = pieces[i].iov_len < request->room ? pieces[i].iov_len : request->room;

        read_bytes(request, pieces[i].iov_base, length);
        *sent += length;
        request->room -= length;
        buf_append(&request->due, (char *)pieces[i].iov_base + length, pieces[i].iov_len - length);
    }
    request->in_flight = IN_FLIGHT;
    request->blocked = buf_length(&request->due) > 0;
    request->last = last && !request->blocked;
    return request->blocked ? -EAGAIN : 0;
}

size_t http_stream_unsent(const struct http_request *request)
{
    return request->in_flight;
}

bool http_stream_is_unanswered(const struct http_request *request)
{
    (void)request;
    return false;
}

void http_add_header(struct http_request *request, const char *name, const char *value)
{
    (void)name;
    (void)value;
    LAW(!request->answered && !request->streaming, "a header follows the answer");
}

void http_stream_end(struct http_request *request)
{
    LAW(!request->answered, "a stream ends twice");
    if (request->document)
        truth_check_document(request->truth, 0, &request->unread);
    else
        LAW(request->done && buf_length(&request->unread) == 0, "a stream ends without its `done`");
    request->answered = true;
}

void http_stream_reset(struct http_request *request)
{
    LAW(!request->answered, "a stream ends twice");
    /* One that is owed the rest of a send may have begun to read too late. */
    LAW(request->watch_failed || buf_length(&request->due) > 0 || request->closed,
        "a client that reads is reset");
    request->answered = true;
}

void http_wait(struct http_request *request, const struct http_stream_handler *handler, void *data)
{
    LAW(!request->answered && !request->streaming, "a request is answered twice");
    request->handler = handler;
    request->data = data;
    request->watched = true;
}

void http_reply(struct http_request *request, unsigned status, const char *content_type,
                struct buf *body)
{
    (void)content_type;
    LAW(!request->answered && !request->streaming, "a request is answered twice");
    truth_check_document(request->truth, status, body);
    buf_finish(body);
    request->answered = true;
}

void http_refuse(struct http_request *request)
{
    LAW(!request->answered && !request->streaming, "a request is answered twice");
    LAW(request->document, "a reader is refused");
    request->answered = true;
}

/* ---- clients ---- */

struct http_request *client_open(struct run *run, bool document, uint64_t after, size_t room)
{
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        struct http_request *client = clients[i];

        if (client && !client->answered)
            continue;
        if (client) {
            buf_finish(&client->due);
            buf_finish(&client->unread);
            free(client);
        }
        client = clients[i] = calloc(1, sizeof *client);
        client->truth = truth_of(run_log(run));
        client->document = document;
        client->number = after;
        client->room = room;
        return client;
    }
    return NULL;
}

struct http_request *client_at(unsigned index)
{
    struct http_request *client = clients[index % CLIENTS_MAX];

    return client && !client->answered ? client : NULL;
}

void client_give_room(struct http_request *client, size_t bytes)
{
    client->room = bytes == 0 || bytes > ROOM_ALL - client->room ? bytes : client->room + bytes;
    client->in_flight /= 2;
}

void client_leave(struct http_request *client, enum client_leaving how)
{
    client->fin = true;
    client->closed |= how != CLIENT_SENDS_NO_MORE;
    client->reset |= how == CLIENT_IS_RESET;
}

void clients_fail_watch(void)
{
    watch_fails = true;
}

static void client_turn(struct http_request *client, uint64_t now_ms)
{
    if (client->reset && (client->watched || client->opening)) {
        client->answered = true;
        client->handler->left(client->data);
    } else if (client->opening) {
        client->opening = false;
        client->handler->opened(client->data);
    } else if (client->fin && !client->fin_told && client->watched) {
        client->fin_told = true;
        client->probe_ms = client->handler->half_closed && !client->blocked ? now_ms : 0;
        if (client->handler->half_closed)
            client->handler->half_closed(client->data);
    } else if (client->blocked && client->watched && client->room > 0) {
        client->blocked = false;
        client->handler->writable(client->data);
    }
}

void clients_turn(uint64_t now_ms)
{
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        if (client_at(i))
            client_turn(client_at(i), now_ms);
    }
}

void clients_check(uint64_t now_ms)
{
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        if (client_at(i) == NULL)
            continue;
        LAW(!clients[i]->last, "a stream that sent all does not end");
        LAW(clients[i]->probe_ms == 0 || now_ms < clients[i]->probe_ms + PROBE_MS,
            "a client that sends no more is not asked whether it is there");
    }
}

unsigned clients_open(void)
{
    unsigned open = 0;

    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        open += client_at(i) != NULL;
    return open;
}

void clients_reset(void)
{
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        if (clients[i] == NULL)
            continue;
        buf_finish(&clients[i]->due);
        buf_finish(&clients[i]->unread);
        free(clients[i]);
        clients[i] = NULL;
    }
    watch_fails = false;
}
