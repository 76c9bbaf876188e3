/*
 * A set of networks: addresses and prefixes (CIDR), and `unix` for the peers of
 * unix sockets. An IPv4 address and the IPv6 address that maps it are the same.
 */
#ifndef BASE_NETWORKS_H
#define BASE_NETWORKS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

struct networks;

/* Make a set of a text's words, which commas and blanks separate; NULL if one is not a network. */
struct networks *networks_create(const char *text);

/* networks may be NULL. */
void networks_destroy(struct networks *networks);

/* Return true if an address is in the set. */
bool networks_contain(const struct networks *networks, const struct sockaddr *address);

/* Write the address, numeric, without a port; "unix" if it is none of IP. */
void network_format(const struct sockaddr *address, char out[INET6_ADDRSTRLEN]);

/*
 * Read an address as proxies write it: ADDRESS, V4:PORT, [V6] or [V6]:PORT,
 * length bytes. False if it is none. The port of out is 0.
 */
bool network_read(const char *text, size_t length, struct sockaddr_storage *out);

#endif
