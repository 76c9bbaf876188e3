/*
 * Who asked a proxy: X-Forwarded-For, and Forwarded (RFC 7239). Each proxy adds
 * the address of its peer at the right, so addresses are believed from the right
 * as long as they are proxies' own.
 */
#ifndef HTTP_FORWARDED_H
#define HTTP_FORWARDED_H

#include <stdbool.h>
#include <sys/socket.h>

struct networks;

/*
 * Return in `client` the address of the client that asked through trusted
 * proxies. The caller sets `client` to the address of the peer, which is a
 * trusted proxy. `values` are a header's, several joined by commas; NULL: no
 * such header. An address that cannot be read ends the walk: the client is then
 * the proxy that wrote it.
 */
void forwarded_for(const char *values, const struct networks *trusted,
                   struct sockaddr_storage *client);
void forwarded_by_rfc(const char *values, const struct networks *trusted,
                      struct sockaddr_storage *client);

#endif
