/*
 * One send, conn_send(), is a loop of five steps; usually it takes one turn:
 *
 *     1. open a chunk for everything that is to be sent, unless one is open
 *     2. frame: the owed bytes, the chunk's bytes, the chunk's end
 *     3. write: one sendmsg(), or one TLS record
 *     4. account: what was written pays the owed bytes first, then the chunk's
 *        bytes; if the chunk's end did not go out whole, its rest is owed
 *     5. take what went out off the pieces
 *
 * A second turn is needed after a chunk that an earlier send left open, and
 * for what does not fit into one record. "Owed" is framing that must go out
 * before anything else: a chunk's size, or the rest of a chunk's end.
 *
 * Bytes that the socket does not take stay with the caller. A chunk whose size
 * is out must be filled with the bytes that were announced, so the next call
 * must begin with them.
 *
 *                 conn_watch                 -EAGAIN
 *     suspended ────────────► watched ──────────────────► blocked
 *                                ▲      writable()          │
 *                                └──────────────────────────┘
 *
 * Only a watched connection has a uv_poll_t in the loop. It always waits for
 * the client to leave, and while blocked also for room in the socket.
 *
 * Leaving. A FIN says only that the client sends no more (RFC 9112, 9.6): it may
 * have left, or it may read on. The next send tells: the machine of a client that
 * closed its socket answers with a reset. So on a FIN, half_closed() asks for
 * something to be sent, and only a socket in error means that the client has left.
 * epoll reports a FIN again and again, so after the first report the poll waits
 * for urgent data, which HTTP does not have. libuv cannot poll for less; epoll
 * reports the error and the hang-up of a socket unasked.
 *
 *     FIN     EPOLLRDHUP            UV_DISCONNECT           half_closed()
 *     reset   EPOLLERR              a negative status       left()
 *     reset   EPOLLHUP, after a     UV_PRIORITIZED without  left()
 *             send took the error   urgent data
 *
 * A client that vanished sends neither. The kernel finds out (http.c sets when),
 * and puts the socket into error.
 *
 * TLS: if the socket does not take all of a record, GnuTLS keeps the rest and
 * says only when the rest is out how many of the caller's bytes were in it.
 * Until then nothing of the record counts as written, and the next write, with
 * NULL, continues that record.
 */
#include "http/conn.h"

#include "base/iov.h"
#include "base/mem.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <linux/sockios.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* The most that TLS puts into one record. */
#define RECORD_MAX 16384

/* A few events: copying them is cheaper than having the kernel look at the pieces. */
#define SMALL_MAX 2048

struct conn { /* what a send looks at comes first */
    int fd;
    bool watched;
    bool blocked;     /* it waits until the socket takes more */
    bool half_closed; /* the client sends no more */
    bool chunked;
    bool record_held;     /* GnuTLS has a record that the socket did not take whole */
    gnutls_session_t tls; /* NULL: none */
    size_t chunk_left;    /* announced bytes of the current chunk that are not sent */
    size_t owed_length;
    char owed[24]; /* framing that must be sent before anything else */
    struct MHD_Connection *connection;
    const struct conn_handler *handler;
    void *data;
    uv_poll_t poll; /* once it is watched */
};

int conn_socket(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
}

/* libmicrohttpd 1.0 answers in one union a connection: the next question overwrites the answer. */
static gnutls_session_t conn_tls(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);

    return info ? info->tls_session : NULL;
}

struct conn *conn_create(struct MHD_Connection *connection, bool chunked,
                         const struct conn_handler *handler, void *data)
{
    struct conn *conn = mem_alloc(sizeof *conn);

    conn->connection = connection;
    conn->fd = conn_socket(connection);
    conn->tls = conn_tls(connection);
    conn->chunked = chunked;
    conn->handler = handler;
    conn->data = data;
    MHD_suspend_connection(connection);
    return conn;
}

/* ---- watching ---- */

static void on_poll(uv_poll_t *poll, int status, int events);

static void conn_poll(struct conn *conn)
{
    int events = conn->half_closed ? UV_PRIORITIZED : UV_DISCONNECT;

    if (conn->watched)
        uv_poll_start(&conn->poll, events | (conn->blocked ? UV_WRITABLE : 0), on_poll);
}

/* Read urgent data, which is of no use, so that it is not reported again; false if there is none.
 */
static bool take_urgent(int fd)
{
    char urgent;

    return recv(fd, &urgent, 1, MSG_OOB | MSG_DONTWAIT) == 1;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct conn *conn = poll->data;

    if (status < 0 || (events & UV_PRIORITIZED && !take_urgent(conn->fd))) {
        uv_poll_stop(poll);
        conn->handler->left(conn->data);
    } else if (events & UV_DISCONNECT) {
        conn->half_closed = true;
        conn_poll(conn);
        conn->handler->half_closed(conn->data);
    } else if (events & UV_WRITABLE) {
        conn->blocked = false;
        conn_poll(conn);
        conn->handler->writable(conn->data);
    }
}

int conn_watch(struct conn *conn, uv_loop_t *loop)
{
    int status;

    if (conn->watched)
        return 0;
    status = uv_poll_init(loop, &conn->poll, conn->fd);
    if (status < 0)
        return status;
    conn->poll.data = conn;
    conn->watched = true;
    conn_poll(conn);
    return 0;
}

/* ---- sending ---- */

static size_t put_chunk_size(char *to, size_t size)
{
    static const char hex[] = "0123456789abcdef";
    size_t digits = 1;

    while (size >> 4 * digits)
        digits++;
    for (size_t i = 0; i < digits; i++)
        to[i] = hex[size >> 4 * (digits - 1 - i) & 15];
    memcpy(to + digits, "\r\n", 2);
    return digits + 2;
}

/* Copy as much of the pieces as there is room for; return how much that is. */
static size_t gather(const struct iovec *pieces, int count, char *to, size_t room)
{
    size_t length = 0;

    for (int i = 0; i < count; i++) {
        size_t part = pieces[i].iov_len;
        if (part > room - length)
            part = room - length;
        memcpy(to + length, pieces[i].iov_base, part);
        length += part;
    }
    return length;
}

/* -EAGAIN if the socket did not take all. */
static int write_plain(int fd, struct iovec *pieces, int count, bool last, size_t *written)
{
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = (size_t)count};
    int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (last ? MSG_MORE : 0);
    size_t length = pieces_length(pieces, count);
    char small[SMALL_MAX];
    ssize_t status;

    if (length <= sizeof small)
        gather(pieces, count, small, sizeof small);
    do
        status =
            length <= sizeof small ? send(fd, small, length, flags) : sendmsg(fd, &message, flags);
    while (status < 0 && errno == EINTR);
    if (status < 0)
        return errno == ENOBUFS || errno == ENOMEM ? -EAGAIN : -errno;
    *written = (size_t)status;
    return *written == length ? 0 : -EAGAIN;
}

/* One record of as many bytes as fit, or the rest of the last one. */
static int write_record(struct conn *conn, const struct iovec *pieces, int count, size_t *written)
{
    static char record[RECORD_MAX];
    size_t length = conn->record_held ? 0 : gather(pieces, count, record, sizeof record);
    ssize_t status = gnutls_record_send(conn->tls, conn->record_held ? NULL : record, length);

    conn->record_held = status == GNUTLS_E_AGAIN || status == GNUTLS_E_INTERRUPTED;
    if (conn->record_held)
        return -EAGAIN;
    if (status < 0) {
        shutdown(conn->fd, SHUT_RDWR); /* a session in error need not be a socket in error */
        return -EPIPE;
    }
    *written = (size_t)status;
    return 0;
}

int conn_send(struct conn *conn, const struct iovec *pieces, int count, bool last, size_t *sent)
{
    struct iovec rest[CONN_PIECES_MAX], framed[CONN_PIECES_MAX + 2];
    int first = 0, status = 0;

    *sent = 0;
    memcpy(rest, pieces, (size_t)count * sizeof *pieces);
    while ((first < count || conn->owed_length > 0) && status == 0) {
        size_t left, part, written = 0;
        int n = 0;

        /* 1. open a chunk */
        if (conn->chunk_left == 0) {
            conn->chunk_left = pieces_length(rest + first, count - first);
            if (conn->chunked && conn->chunk_left > 0)
                conn->owed_length +=
                    put_chunk_size(conn->owed + conn->owed_length, conn->chunk_left);
        }

        /* 2. frame */
        if (conn->owed_length > 0)
            framed[n++] = (struct iovec){conn->owed, conn->owed_length};
        left = conn->chunk_left;
        for (int i = first; i < count && left > 0; i++) {
            framed[n] = rest[i];
            if (framed[n].iov_len > left)
                framed[n].iov_len = left;
            left -= framed[n++].iov_len;
        }
        if (conn->chunked && conn->chunk_left > 0 && left == 0)
            framed[n++] = (struct iovec){(void *)"\r\n", 2};

        /* 3. write */
        if (conn->tls)
            status = write_record(conn, framed, n, &written);
        else
            status = write_plain(conn->fd, framed, n, last, &written);

        /* 4. account */
        part = written < conn->owed_length ? written : conn->owed_length;
        memmove(conn->owed, conn->owed + part, conn->owed_length - part);
        conn->owed_length -= part;
        written -= part;
        part = written < conn->chunk_left ? written : conn->chunk_left;
        conn->chunk_left -= part;
        written -= part;
        if (conn->chunked && conn->chunk_left == 0 && part > 0) {
            conn->owed_length = 2 - written;
            memcpy(conn->owed, &"\r\n"[written], conn -> owed_length);
        }

        /* 5. take it off the pieces */
        *sent += part;
        while (first < count && part >= rest[first].iov_len)
            part -= rest[first++].iov_len;
        if (part > 0) {
            rest[first].iov_base = (char *)rest[first].iov_base + part;
            rest[first].iov_len -= part;
        }
    }
    if (status == -EAGAIN) {
        conn->blocked = true;
        conn_poll(conn);
    }
    return status;
}

size_t conn_unsent(const struct conn *conn)
{
    int unsent = 0;

    ioctl(conn->fd, SIOCOUTQ, &unsent);
    return (size_t)unsent;
}

void conn_say(struct MHD_Connection *connection, const char *data, size_t length)
{
    gnutls_session_t tls = conn_tls(connection);

    if (tls)
        gnutls_record_send(tls, data, length);
    else
        send(conn_socket(connection), data, length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

bool conn_has_unread(struct MHD_Connection *connection)
{
    int unread = 0;

    return ioctl(conn_socket(connection), FIONREAD, &unread) == 0 && unread > 0;
}

bool conn_is_unanswered(const struct conn *conn)
{
    struct tcp_info info = {.tcpi_probes = 0};
    socklen_t length = sizeof info;

    getsockopt(conn->fd, IPPROTO_TCP, TCP_INFO, &info, &length);
    return info.tcpi_probes > 0;
}

int conn_error(const struct conn *conn)
{
    int error = 0;
    socklen_t length = sizeof error;

    getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    return -error;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void conn_resume(struct conn *conn)
{
    if (conn == NULL)
        return;
    MHD_resume_connection(conn->connection);
    if (conn->watched)
        uv_close((uv_handle_t *)&conn->poll, on_closed);
    else
        free(conn);
}
