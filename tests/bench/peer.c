#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem() */
#endif
#include "peer.h"

#include "net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define REST_MAX    (16 * 1024 * 1024)
#define REQUEST_MAX 8192

static void forget_request(struct peer *peer)
{
    free(peer->request);
    peer->request = NULL;
    peer->request_length = 0;
}

void peer_finish(struct peer *peer)
{
    forget_request(peer);
    free(peer->rest);
    peer->rest = NULL;
    peer->rest_length = 0;
}

static char *append(char *to, size_t length, const char *bytes, size_t more)
{
    to = realloc(to, length + more + 1);
    if (to == NULL)
        net_die("memory");
    memcpy(to + length, bytes, more);
    to[length + more] = '\0';
    return to;
}

int peer_send(struct peer *peer, const char *bytes, size_t length)
{
    long sent = peer->rest_length > 0 ? 0 : net_send(peer->fd, bytes, length);

    if (sent < 0)
        return (int)sent;
    if ((size_t)sent == length)
        return 0;
    length -= (size_t)sent;
    if (peer->rest_length + length > REST_MAX)
        return -ENOBUFS;
    peer->rest = append(peer->rest, peer->rest_length, bytes + sent, length);
    peer->rest_length += length;
    return 0;
}

int peer_flush(struct peer *peer)
{
    long sent = peer->rest_length > 0 ? net_send(peer->fd, peer->rest, peer->rest_length) : 0;

    if (sent < 0)
        return (int)sent;
    peer->rest_length -= (size_t)sent;
    if (peer->rest_length > 0) {
        memmove(peer->rest, peer->rest + sent, peer->rest_length);
    } else {
        free(peer->rest);
        peer->rest = NULL;
    }
    return 0;
}

static bool is_whole(const char *request, size_t length)
{
    static const char word[] = "ontent-Length: ";
    const char *end = memmem(request, length, "\r\n\r\n", 4);
    const char *body = end ? memmem(request, (size_t)(end - request), word, sizeof word - 1) : NULL;
    size_t wanted = body ? (size_t)strtoul(body + sizeof word - 1, NULL, 10) : 0;

    return end && length - (size_t)(end + 4 - request) >= wanted;
}

const char *peer_request(struct peer *peer, const char *bytes, size_t length, int *error)
{
    *error = 0;
    if (peer->request_length == 0) {
        forget_request(peer);
        if (is_whole(bytes, length))
            return bytes;
    }
    peer->request = append(peer->request, peer->request_length, bytes, length);
    peer->request_length += length;
    if (is_whole(peer->request, peer->request_length)) {
        peer->request_length = 0; /* its bytes stay until the next call */
        return peer->request;
    }
    if (peer->request_length > REQUEST_MAX)
        *error = -EMSGSIZE;
    return NULL;
}
