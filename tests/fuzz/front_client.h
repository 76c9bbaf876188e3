/*
 * Clients: the HTTP side of the front as far as streams and documents reach it. Each takes
 * as many bytes as it has room for, may leave, and checks what it gets.
 */
#ifndef TESTS_FUZZ_FRONT_CLIENT_H
#define TESTS_FUZZ_FRONT_CLIENT_H

#include "front_reader.h"
#include "http/answer.h"

#define CLIENTS_MAX 12

/* Room of a client that reads all. */
#define ROOM_ALL (SIZE_MAX / 2)

struct http_request;

/*
 * Make a client of the run, which reads its events after the number after, or waits for its
 * document; NULL if there are too many.
 */
struct http_request *client_open(struct run *run, bool document, const struct reader_form *form,
                                 uint64_t after, size_t room);

/* Return the client at an index below CLIENTS_MAX; NULL: there is none. */
struct http_request *client_at(unsigned index);

/* Let it read this much more. */
void client_give_room(struct http_request *client, size_t bytes);

enum client_leaving {
    CLIENT_SENDS_NO_MORE, /* but reads */
    CLIENT_IS_CLOSED,     /* what it is sent is answered by a reset */
    CLIENT_IS_RESET,
};

void client_leave(struct http_request *client, enum client_leaving how);

/* The next time that the front watches a client's connection, it cannot. */
void clients_fail_watch(void);

/* Tell the front what happened to connections. */
void clients_turn(uint64_t now_ms);

/* Check what must hold between two turns of the loop. */
void clients_check(uint64_t now_ms);

/* Clients that have not been answered to the end. */
unsigned clients_open(void);

void clients_reset(void);

#endif
