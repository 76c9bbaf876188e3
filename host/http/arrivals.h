/*
 * Connections of proxies that have not sent the whole header of the PROXY
 * protocol yet (proxy_header.h). Each has its timeout, and reads no byte beyond
 * the header.
 */
#ifndef HTTP_ARRIVALS_H
#define HTTP_ARRIVALS_H

#include <sys/socket.h>
#include <uv.h>

struct arrivals;

/*
 * arrived() is called for each connection, from the loop: with the socket,
 * which it takes over, and the address of the client; or with -1 if the header
 * did not come and the socket is closed.
 */
struct arrivals *arrivals_create(uv_loop_t *loop, unsigned timeout_s,
                                 void (*arrived)(void *data, int fd,
                                                 const struct sockaddr_storage *client),
                                 void *data);

/* Takes the socket over. */
void arrivals_add(struct arrivals *arrivals, int fd, const struct sockaddr_storage *peer);

/* Close all sockets; arrived() is not called any longer. */
void arrivals_destroy(struct arrivals *arrivals);

#endif
