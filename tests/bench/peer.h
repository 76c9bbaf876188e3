#ifndef SLUICE_BENCH_PEER_H
#define SLUICE_BENCH_PEER_H

#include <stdbool.h>
#include <stddef.h>

/* The other end of a connection: what it has not taken yet, and a request of which more will come.
 */
struct peer {
    int fd;
    char *rest;
    size_t rest_length;
    char *request;
    size_t request_length;
};

void peer_finish(struct peer *peer);

/* Sends, and keeps what is not taken; 0, or a negative errno if the peer is gone or takes nothing.
 */
int peer_send(struct peer *peer, const char *bytes, size_t length);

/* Sends what was kept; 0 or a negative errno. */
int peer_flush(struct peer *peer);

/*
 * Takes bytes of a request. If it is whole, returns its begin, which holds until the next call:
 * up to its blank line and Content-Length bytes more. NULL, with *error 0 or a negative errno, if
 * not. A request may not be followed by another before it is answered.
 */
const char *peer_request(struct peer *peer, const char *bytes, size_t length, int *error);

#endif
