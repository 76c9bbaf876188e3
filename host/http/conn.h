/*
 * A connection that libmicrohttpd has suspended and the front looks after
 * itself. The front sees the client leave, which libmicrohttpd does not while a
 * connection is suspended. The front writes streams to the socket directly,
 * which saves libmicrohttpd's walk over all suspended connections.
 *
 * Writing needs that the response's headers are out, and frames what is
 * written as HTTP/1.1 chunks (RFC 9112, 7.1) if the response is chunked. The
 * last chunk is libmicrohttpd's to write, after the connection was resumed.
 *
 * Over TLS, what is written goes through the connection's session, one record
 * after the other. While a record is on its way the connection must not be
 * resumed to write on.
 *
 * A client that shuts down its sending side may read on, or may have left: the
 * next send tells. Bytes that a client sends while its connection is suspended
 * stay unread.
 */
#ifndef HTTP_CONN_H
#define HTTP_CONN_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <uv.h>

struct MHD_Connection;
struct conn;

struct conn_handler {
    /* The socket takes data again. */
    void (*writable)(void *data);
    /* The client sends no more. Send something now: if the client has left, left() follows. */
    void (*half_closed)(void *data);
    /* The client has left, or vanished; no more calls follow. */
    void (*left)(void *data);
};

/* Suspend the connection, inside one of libmicrohttpd's callbacks for it. */
struct conn *conn_create(struct MHD_Connection *connection, bool chunked,
                         const struct conn_handler *handler, void *data);

/*
 * From now on the handler is called, on this loop, also for what happened
 * before: 0 or -errno. May be called again. A connection that is resumed at once
 * need not be watched, which saves five system calls.
 */
int conn_watch(struct conn *conn, uv_loop_t *loop);

/*
 * Send as much of the pieces, at most CONN_PIECES_MAX, as the socket takes,
 * without waiting; sent counts their bytes that are out. 0 if all is out.
 * -EAGAIN if not: writable() is called later. The next call must follow even if
 * only framing was left, and its pieces must begin with the bytes that were
 * left. Other -errno.
 *
 * last says that the response ends after the pieces: they may then wait for the
 * last chunk, and leave in one packet with it.
 */
int conn_send(struct conn *conn, const struct iovec *pieces, int count, bool last, size_t *sent);

#define CONN_PIECES_MAX 4

/* Return how many bytes the socket has taken and the client's machine has not acknowledged. */
size_t conn_unsent(const struct conn *conn);

/*
 * Return true while the kernel waits for the answer to a keep-alive probe. Bytes
 * that are sent now could only be added to those that the client's machine does
 * not acknowledge.
 */
bool conn_is_unanswered(const struct conn *conn);

/* Return why the socket is in error, once: -errno, or 0. */
int conn_error(const struct conn *conn);

/* Give the connection back to libmicrohttpd. conn may be NULL. */
void conn_resume(struct conn *conn);

/*
 * Write as much as the socket takes at once, past libmicrohttpd, to a connection
 * that is not suspended and closes after it.
 */
void conn_say(struct MHD_Connection *connection, const char *data, size_t length);

/* Return true if the client has sent what libmicrohttpd did not read. */
bool conn_has_unread(struct MHD_Connection *connection);

/* Return the socket of one of libmicrohttpd's connections. */
int conn_socket(struct MHD_Connection *connection);

#endif
