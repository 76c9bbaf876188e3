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
    struct reader *reader;
    const char *content_type;
    bool recalls;  /* what its encoder makes may not be made again, so that the front keeps it */
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
    struct buf due;   /* bytes with which the next send must begin */
    struct buf whole; /* all that it has read of a document */
    uint64_t dropped; /* events that were at the last send */
};

static struct http_request *clients[CLIENTS_MAX];
static bool watch_fails;

/* ---- http.h ---- */

void http_stream(struct http_request *request, const char *content_type,
                 const struct http_stream_handler *handler, void *data)
{
    LAW(!request->answered && !request->streaming, "a request is answered twice");
    LAW(strcmp(content_type, request->content_type) == 0, "a stream is of another type");
    reader_begin(request->reader);
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

/* What was left of the last send comes first, and is due no longer; the rest is new. */
static void check_due(struct http_request *request, const struct iovec *pieces, int count)
{
    uint64_t dropped = request->truth->log->start.sequence;
    bool goes_on = buf_length(&request->due) > 0;
    struct buf rest = {0};

    for (int i = 0; i < count; i++) {
        size_t length = pieces[i].iov_len;

        if (length > buf_length(&request->due))
            length = buf_length(&request->due);
        LAW(length == 0 || memcmp(buf_data(&request->due), pieces[i].iov_base, length) == 0,
            "a send does not go on where the last one stopped");
        buf_consume(&request->due, length);
        buf_append(&rest, (char *)pieces[i].iov_base + length, pieces[i].iov_len - length);
    }
    LAW(buf_length(&request->due) == 0, "a send does not go on with all that was left");
    /* TLS takes the same bytes again, no more; only the rest of frames that are kept is added. */
    LAW(!goes_on || buf_length(&rest) == 0 || request->document || request->recalls ||
            dropped > request->dropped,
        "a send goes on with more than what was left");
    request->dropped = dropped;
    if (!request->document)
        reader_offer(request->reader, buf_data(&rest), buf_length(&rest), !goes_on);
    buf_finish(&rest);
}

static bool has_all(const struct http_request *request)
{
    return !request->document && buf_length(&request->due) == 0 && reader_is_over(request->reader);
}

static void client_check_document(struct http_request *request, unsigned status,
                                  const struct buf *document)
{
    reader_begin(request->reader);
    if (reader_check_document(request->reader, status, document))
        truth_must_cancel(request->truth);
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

        if (request->document)
            buf_append(&request->whole, pieces[i].iov_base, length);
        *sent += length;
        request->room -= length;
        buf_append(&request->due, (char *)pieces[i].iov_base + length, pieces[i].iov_len - length);
    }
    request->in_flight = IN_FLIGHT;
    request->blocked = buf_length(&request->due) > 0;
    request->last = last && !request->blocked;
    if (request->last && request->document) {
        client_check_document(request, 0, &request->whole);
    } else if (request->last) {
        LAW(has_all(request), "a stream ends without its last event");
        if (reader_cancels(request->reader))
            truth_must_cancel(request->truth);
    }
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
    LAW(request->last, "a stream ends without its last event");
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
    reader_begin(request->reader);
    request->handler = handler;
    request->data = data;
    request->watched = true;
}

void http_reply(struct http_request *request, unsigned status, const char *content_type,
                struct buf *body)
{
    LAW(!request->answered && !request->streaming, "a request is answered twice");
    LAW(strcmp(content_type, request->content_type) == 0, "a document is of another type");
    client_check_document(request, status, body);
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

static void client_destroy(struct http_request *client)
{
    reader_destroy(client->reader);
    buf_finish(&client->due);
    buf_finish(&client->whole);
    free(client);
}

struct http_request *client_open(struct run *run, bool document, const struct reader_form *form,
                                 uint64_t after, size_t room)
{
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        struct http_request *client = clients[i];

        if (client && !client->answered)
            continue;
        if (client)
            client_destroy(client);
        client = clients[i] = calloc(1, sizeof *client);
        client->truth = truth_of(run_log(run));
        client->reader = reader_create(run, form, after);
        client->recalls = form->encoder->recalls;
        client->content_type =
            document ? form->encoder->document->content_type : form->encoder->content_type;
        client->document = document;
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
        LAW(clients[i]->opening || !clients[i]->streaming || clients[i]->closed ||
                !has_all(clients[i]),
            "a stream goes on after its last event");
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
        client_destroy(clients[i]);
        clients[i] = NULL;
    }
    watch_fails = false;
}
