#include "http/conn.h"

#include "base/iov.h"
#include "base/mem.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <linux/sockios.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define PIECES_MAX 4

/* The most that TLS puts into one record. */
#define RECORD_MAX 16384

/* A few events. */
#define SMALL_MAX 2048

struct parked { /* what a send looks at comes first */
    int fd;
    bool watched;
    bool blocked; /* it waits until the socket takes more */
    bool chunked;
    bool record_held;     /* GnuTLS has a record that the socket did not take whole */
    gnutls_session_t tls; /* NULL: none */
    size_t chunk_left;    /* announced bytes of the current chunk that are not sent */
    size_t owed_length;
    char owed[24]; /* framing that must be sent before anything else */
    struct MHD_Connection *connection;
    const struct parked_handler *handler;
    void *data;
    uv_poll_t poll; /* once it is watched */
};

static void on_poll(uv_poll_t *poll, int status, int events);

static void parked_poll(struct parked *parked)
{
    if (parked->watched)
        uv_poll_start(&parked->poll, UV_DISCONNECT | (parked->blocked ? UV_WRITABLE : 0), on_poll);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct parked *parked = poll->data;

    if (status < 0 || events & UV_DISCONNECT) {
        uv_poll_stop(poll);
        parked->handler->left(parked->data);
        return;
    }
    if (events & UV_WRITABLE) {
        parked->blocked = false;
        parked_poll(parked);
        parked->handler->writable(parked->data);
    }
}

int parked_watch(struct parked *parked, uv_loop_t *loop)
{
    int status;

    if (parked->watched)
        return 0;
    status = uv_poll_init(loop, &parked->poll, parked->fd);
    if (status < 0)
        return status;
    parked->poll.data = parked;
    parked->watched = true;
    parked_poll(parked);
    return 0;
}

static int connection_fd(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
}

static gnutls_session_t connection_tls(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);

    return info ? info->tls_session : NULL;
}

struct parked *parked_create(struct MHD_Connection *connection, bool chunked,
                             const struct parked_handler *handler, void *data)
{
    struct parked *parked = mem_alloc(sizeof *parked);

    parked->connection = connection;
    parked->fd = connection_fd(connection);
    parked->tls = connection_tls(connection);
    parked->chunked = chunked;
    parked->handler = handler;
    parked->data = data;
    MHD_suspend_connection(connection);
    return parked;
}

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

/* Opens a chunk for so many bytes, unless one is open. */
static void parked_open_chunk(struct parked *parked, size_t length)
{
    if (parked->chunk_left > 0 || length == 0)
        return;
    parked->chunk_left = length;
    if (parked->chunked)
        parked->owed_length += put_chunk_size(parked->owed + parked->owed_length, length);
}

/* What is to be written now: owed framing, the open chunk's bytes, its end. */
static int parked_frame(const struct parked *parked, const struct iovec *pieces, int count,
                        struct iovec out[PIECES_MAX + 2])
{
    size_t left = parked->chunk_left;
    int n = 0;

    if (parked->owed_length > 0)
        out[n++] = (struct iovec){(void *)parked->owed, parked->owed_length};
    for (int i = 0; i < count && left > 0; i++) {
        out[n] = pieces[i];
        if (out[n].iov_len > left)
            out[n].iov_len = left;
        left -= out[n++].iov_len;
    }
    if (parked->chunked && parked->chunk_left > 0 && left == 0)
        out[n++] = (struct iovec){(void *)"\r\n", 2};
    return n;
}

/* Accounts for what was written; returns how many bytes of the chunk are in it. */
static size_t parked_account(struct parked *parked, size_t written)
{
    size_t framing = written < parked->owed_length ? written : parked->owed_length;
    size_t body;

    memmove(parked->owed, parked->owed + framing, parked->owed_length - framing);
    parked->owed_length -= framing;
    written -= framing;
    body = written < parked->chunk_left ? written : parked->chunk_left;
    parked->chunk_left -= body;
    written -= body;
    if (parked->chunked && parked->chunk_left == 0 && body > 0) {
        parked->owed_length = 2 - written;
        memcpy(parked->owed, "\r\n" + written, parked->owed_length);
    }
    return body;
}

/* Copies as much of the pieces as there is room for. */
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

/* What is small is copied: cheaper than to have the kernel look at the pieces. */
static ssize_t send_pieces(int fd, struct iovec *pieces, int count, size_t length, int flags)
{
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = (size_t)count};
    char small[SMALL_MAX];

    if (length > sizeof small)
        return sendmsg(fd, &message, flags);
    gather(pieces, count, small, sizeof small);
    return send(fd, small, length, flags);
}

/* -EAGAIN if it did not take all. */
static int write_plain(struct parked *parked, struct iovec *framed, int count, bool last,
                       size_t *written)
{
    int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (last ? MSG_MORE : 0);
    size_t length = pieces_length(framed, count);
    ssize_t status;

    do
        status = send_pieces(parked->fd, framed, count, length, flags);
    while (status < 0 && errno == EINTR);
    if (status < 0)
        return errno == ENOBUFS || errno == ENOMEM ? -EAGAIN : -errno;
    *written = (size_t)status;
    return *written == length ? 0 : -EAGAIN;
}

/*
 * One record. If the socket does not take all of it, GnuTLS keeps the rest and
 * tells how much of the pieces it made the record of only when the rest is out,
 * which is asked for with NULL: until then nothing of it counts as written.
 */
static int write_record(struct parked *parked, const struct iovec *framed, int count,
                        size_t *written)
{
    static char record[RECORD_MAX];
    size_t length = parked->record_held ? 0 : gather(framed, count, record, sizeof record);
    ssize_t status = gnutls_record_send(parked->tls, parked->record_held ? NULL : record, length);

    parked->record_held = status == GNUTLS_E_AGAIN || status == GNUTLS_E_INTERRUPTED;
    if (parked->record_held)
        return -EAGAIN;
    if (status < 0) {
        shutdown(parked->fd, SHUT_RDWR); /* a session in error need not be a socket in error */
        return -EPIPE;
    }
    *written = (size_t)status;
    return 0;
}

/* One write; body is how many of the pieces' bytes it took. -EAGAIN if the socket is full. */
static int parked_write(struct parked *parked, const struct iovec *pieces, int count, bool last,
                        size_t *body)
{
    struct iovec framed[PIECES_MAX + 2];
    size_t written = 0;
    int framed_count, status;

    parked_open_chunk(parked, pieces_length(pieces, count));
    framed_count = parked_frame(parked, pieces, count, framed);
    if (parked->tls)
        status = write_record(parked, framed, framed_count, &written);
    else
        status = write_plain(parked, framed, framed_count, last, &written);
    *body = parked_account(parked, written);
    return status;
}

/* The pieces without their first bytes; returns how many are left. */
static int skip(struct iovec *pieces, int count, size_t bytes)
{
    int first = 0;

    while (first < count && bytes >= pieces[first].iov_len)
        bytes -= pieces[first++].iov_len;
    for (int i = first; i < count; i++)
        pieces[i - first] = pieces[i];
    if (first < count) {
        pieces[0].iov_base = (char *)pieces[0].iov_base + bytes;
        pieces[0].iov_len -= bytes;
    }
    return count - first;
}

/*
 * Usually one write. A chunk that was left open before needs another one for
 * what follows it, and so does what is too much for one record.
 */
int parked_send(struct parked *parked, const struct iovec *pieces, int count, bool last,
                size_t *sent)
{
    struct iovec rest[PIECES_MAX];
    int status = 0;

    *sent = 0;
    memcpy(rest, pieces, (size_t)count * sizeof *pieces);
    while ((count > 0 || parked->owed_length > 0) && status == 0) {
        size_t body = 0;
        status = parked_write(parked, rest, count, last, &body);
        *sent += body;
        count = skip(rest, count, body);
    }
    if (status == -EAGAIN) {
        parked->blocked = true;
        parked_poll(parked);
    }
    return status;
}

size_t parked_unsent(const struct parked *parked)
{
    int unsent = 0;

    ioctl(parked->fd, SIOCOUTQ, &unsent);
    return (size_t)unsent;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void parked_resume(struct parked *parked)
{
    if (parked == NULL)
        return;
    MHD_resume_connection(parked->connection);
    if (parked->watched)
        uv_close((uv_handle_t *)&parked->poll, on_closed);
    else
        free(parked);
}
