/*
 * The answer to a request, once: a reply, a promise of an answer, or a stream. The
 * request lives until it is replied to, its stream ends, or its client leaves; left()
 * tells its holder of the last.
 */
#ifndef HTTP_ANSWER_H
#define HTTP_ANSWER_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

struct http_request;

/* Add a header to the answer that follows, at most 16. The name is a literal; the value is copied.
 */
void http_add_header(struct http_request *request, const char *name, const char *value);

/*
 * Takes the body over. Not to be stored, unless a header Cache-Control was added. content_type
 * NULL: an answer without a body, such as 204. If the client has no room for a large body, it gets
 * a refusal instead.
 */
void http_reply(struct http_request *request, unsigned status, const char *content_type,
                struct buf *body);

/* Reply as the handler refuses a request whose client has no room. */
void http_refuse(struct http_request *request);

/* Whoever holds a request until its answer is whole. */
struct http_stream_handler {
    void (*opened)(void *data);   /* bytes can be sent; the headers leave with the first of them */
    void (*writable)(void *data); /* after a short send: more can be sent */
    /*
     * The client sends no more. It may read on: if it has left, left() follows what is
     * sent next, so send something now. NULL: something will be sent soon.
     */
    void (*half_closed)(void *data);
    void (*left)(void *data); /* the client is gone, the request too */
};

/*
 * http_reply() or http_stream() follows later, unless left() is called first. Until
 * then only half_closed() and left() are called. Calling again replaces the handler
 * and its data.
 */
void http_wait(struct http_request *request, const struct http_stream_handler *handler, void *data);

/* Answer with status 200 and a body that is sent as it comes. */
void http_stream(struct http_request *request, const char *content_type,
                 const struct http_stream_handler *handler, void *data);

/*
 * From now on writable() and left() are called, also for what happened before: 0
 * or -errno. Until then nobody sees the client leave, and a stream that ends at
 * once costs less. May be called again.
 */
int http_stream_watch(struct http_request *request);

/* Send as conn_send() does; after the last bytes http_stream_end() must follow at once. */
int http_stream_send(struct http_request *request, const struct iovec *pieces, int count, bool last,
                     size_t *sent);

/*
 * Return how many bytes the socket has taken and the client's machine has not
 * acknowledged: the number falls as long as the client reads, however slowly.
 */
size_t http_stream_unsent(const struct http_request *request);

/*
 * Return true while the client's machine owes the answer to a probe for a sign of
 * life. A send then only puts off the end of a client that vanished.
 */
bool http_stream_is_unanswered(const struct http_request *request);

/* End a stream, after an http_stream_send() that sent everything. The request must not be used
 * afterwards. */
void http_stream_end(struct http_request *request);

/*
 * End the stream so that its client sees a reset and never takes it for whole.
 * left() is not called; the request must not be used afterwards.
 */
void http_stream_reset(struct http_request *request);

#endif
