/*
 * Not a plugin: preloaded into the host, it makes every send() and sendmsg() to
 * a TCP socket a short one, as the kernel may at any time. SHORT_SEND is how many
 * bytes are left out, at most; one byte always goes. Not those of libmicrohttpd,
 * which takes a short one for a full socket: they are without MSG_DONTWAIT.
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PIECES_MAX 16
#define EXPORTED   __attribute__((visibility("default")))

/* By this a test sees that what is here is seen outside. */
EXPORTED extern const char fault_short_send;
const char fault_short_send = 1;

EXPORTED ssize_t sendmsg(int fd, const struct msghdr *message, int flags);
EXPORTED ssize_t send(int fd, const void *data, size_t length, int flags);

static int is_tcp(int fd)
{
    int domain = 0;
    socklen_t length = sizeof domain;

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 &&
           (domain == AF_INET || domain == AF_INET6);
}

static size_t wanted(const struct msghdr *message)
{
    size_t total = 0;

    for (size_t i = 0; i < message->msg_iovlen; i++)
        total += message->msg_iov[i].iov_len;
    return total;
}

/* Copies the message's pieces up to so many bytes. */
static void cut(struct msghdr *message, struct iovec *pieces, size_t bytes)
{
    size_t count = 0;

    for (; count < message->msg_iovlen && bytes > 0; count++) {
        pieces[count] = message->msg_iov[count];
        if (pieces[count].iov_len > bytes)
            pieces[count].iov_len = bytes;
        bytes -= pieces[count].iov_len;
    }
    message->msg_iov = pieces;
    message->msg_iovlen = count;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    const char *setting = getenv("SHORT_SEND");
    size_t less = setting ? (size_t)atoi(setting) : 0, total = wanted(message);
    struct msghdr shorter = *message;
    struct iovec pieces[PIECES_MAX];

    if (is_tcp(fd) && flags & MSG_DONTWAIT && total > 1 && message->msg_iovlen <= PIECES_MAX)
        cut(&shorter, pieces, total > less ? total - less : 1);
    return syscall(SYS_sendmsg, fd, &shorter, flags);
}

ssize_t send(int fd, const void *data, size_t length, int flags)
{
    struct iovec piece = {.iov_base = (void *)data, .iov_len = length};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};

    return sendmsg(fd, &message, flags);
}
