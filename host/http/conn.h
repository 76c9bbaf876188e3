/*
 * A connection that libmicrohttpd has suspended and the front looks after
 * itself: it sees the client leave, which libmicrohttpd does not while a
 * connection is suspended, and it can write to it, which is how streams are
 * sent without libmicrohttpd's walk over all suspended connections.
 *
 * Writing needs that the response's headers are out, and frames what is
 * written as HTTP/1.1 chunks (RFC 9112, 7.1) if the response is chunked. The
 * last chunk is libmicrohttpd's to write, after the connection was resumed.
 *
 * Over TLS, what is written goes through the connection's session, one record
 * after the other. While a record is on its way the connection must not be
 * resumed to write on.
 *
 * A client that shuts down its sending side counts as one that left. What it
 * sends while its connection is parked stays unread.
 */
#ifndef HTTP_CONN_H
#define HTTP_CONN_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <uv.h>

struct MHD_Connection;
struct parked;

struct parked_handler {
    /* The socket takes data again. */
    void (*writable)(void *data);
    /* The client is gone; no more calls follow. */
    void (*left)(void *data);
};

/* Suspends the connection; to be called inside one of libmicrohttpd's callbacks for it. */
struct parked *parked_create(struct MHD_Connection *connection, bool chunked,
                             const struct parked_handler *handler, void *data);

/*
 * From now on the handler is called, on this loop: also for what happened
 * before. 0 or -errno. Again is fine. What is resumed at once need not be watched,
 * which spares five system calls.
 */
int parked_watch(struct parked *parked, uv_loop_t *loop);

/*
 * Sends as much of the pieces as the socket takes, never waiting; sent says how
 * many of their bytes are out. 0 if all is out. -EAGAIN if not: writable() is called
 * later, and the next call's pieces must begin with the bytes that were left, if
 * there are any; it is due even if only framing was left. Other -errno.
 *
 * last says that the response ends behind them: if they are all out then, they
 * may wait for the last chunk, and leave in one packet with it.
 */
int parked_send(struct parked *parked, const struct iovec *pieces, int count, bool last,
                size_t *sent);

/* Bytes that the socket has taken and the client's machine has not acknowledged. */
size_t parked_unsent(const struct parked *parked);

/* Gives the connection back to libmicrohttpd. NULL is fine. */
void parked_resume(struct parked *parked);

#endif
