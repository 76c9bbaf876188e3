/*
 * Sockets that are closed late. A client that is refused while it still sends has unread bytes
 * on their way. If its socket were closed at once, the kernel would answer them with a reset,
 * which can overtake the answer that says why. So the socket is shut down for sending, and
 * what comes is thrown away until the client closes (RFC 9112, 9.6).
 *
 * Bounds: LINGERS_MAX sockets, each for LINGER_MS and LINGER_BYTES. A further socket is closed
 * at once.
 */
#ifndef HTTP_LINGERS_H
#define HTTP_LINGERS_H

#include <uv.h>

#define LINGERS_MAX  32
#define LINGER_MS    2000
#define LINGER_BYTES (16u * 1024 * 1024)

struct lingers;

struct lingers *lingers_create(uv_loop_t *loop);

/* Keep a duplicate of the socket, which the caller closes. */
void lingers_add(struct lingers *lingers, int fd);

/* Closes all that are left. */
void lingers_destroy(struct lingers *lingers);

#endif
