#ifndef SLUICE_BENCH_NET_H
#define SLUICE_BENCH_NET_H

#include <stddef.h>
#include <stdint.h>

/* What the benchmark's programs have in common: sockets that do not block, and clocks. */

#define NET_NS_PER_MS UINT64_C(1000000)

/* CLOCK_REALTIME: events carry it, and their receiver reads the same one. */
uint64_t net_now_ns(void);
uint64_t net_monotonic_ns(void);

/* As many files as the hard limit allows. */
void net_raise_file_limit(void);

/*
 * A socket that listens on the loopback, port 0 for any. Prints `listening on 127.0.0.1:PORT`, a
 * line on stdout. Exits if it cannot.
 */
int net_listen(unsigned int port);

/* The next connection, or a negative errno. */
int net_accept(int listener);

/* A connection on the loopback that stands or will; from the address `source`, 0 for any; a
 * negative errno. */
int net_connect(uint32_t source, unsigned int port);

/* Sends without waiting: how much, 0 if there is no room now, or a negative errno. */
long net_send(int fd, const char *bytes, size_t length);

/* Closes by a reset, so that no port is left waiting. Takes -1. */
void net_reset(int fd);

/* epoll_wait() that waits for so many ns at most, UINT64_MAX for ever. */
struct epoll_event;
int net_wait(int epoll, struct epoll_event *events, int most, uint64_t timeout_ns);

/* Adds, changes; exits if it cannot. */
void net_watch(int epoll, int operation, int fd, uint32_t events, void *pointer);

/* Exits with a message and errno. */
__attribute__((noreturn)) void net_die(const char *what);

#endif
