/*
 * The header of the PROXY protocol, version 2, which a proxy sends before the
 * first byte of its client:
 *
 *     12 bytes   a signature
 *      1 byte    version 2, command: 0 the proxy itself asks, 1 for a client
 *      1 byte    family and transport
 *      2 bytes   length of what follows: addresses, then what is not read here
 */
#ifndef HTTP_PROXY_HEADER_H
#define HTTP_PROXY_HEADER_H

#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

#define PROXY_HEADER_MIN 16
#define PROXY_HEADER_MAX 1024

/* Return the length of the header that begins with PROXY_HEADER_MIN bytes; -EINVAL if it is none.
 */
ssize_t proxy_header_length(const unsigned char *data);

/*
 * Read the client's address from a header of its full length. out stays as it is
 * if the proxy asks for itself, or for a client without an IP address. -EINVAL.
 */
int proxy_header_read(const unsigned char *data, size_t length, struct sockaddr_storage *out);

#endif
