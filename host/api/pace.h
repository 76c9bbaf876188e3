/*
 * The pace of a client that is sent an answer bit by bit: when it is due a sign of
 * life from us, and how long it has taken nothing of what was sent.
 *
 * The stall counts only time in which the front turned, so a front that stood still
 * disconnects nobody, and it counts from when bytes were last taken, up to the
 * period of the checks.
 */
#ifndef API_PACE_H
#define API_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct http_request;

/* Time between two checks of all clients, in ms. */
#define PACE_CHECK_MS 500

struct pace_times {
    uint64_t heartbeat_ms; /* an idle client is sent a heartbeat after this time */
    uint64_t stall_ms;     /* a client that takes nothing is disconnected after this time */
};

/* A plain struct, part of whoever sends. */
struct pace {
    bool blocked;      /* the socket is full */
    bool half_closed;  /* the client sends no more */
    uint64_t sent_at;  /* ms of the loop's clock */
    uint64_t moved_at; /* while blocked: when fewer bytes were on their way, by patience_now() */
    size_t on_way;     /* while blocked: bytes that the client's machine has not acknowledged */
};

/* Begin the stall. */
void pace_block(struct pace *pace, const uv_loop_t *loop, const struct http_request *request);

/* Something was sent, or counts as sent; the socket is full, or not. */
static inline void pace_stamp(struct pace *pace, const uv_loop_t *loop,
                              const struct http_request *request, bool blocked)
{
    pace->blocked = blocked;
    pace->sent_at = uv_now(loop);
    if (blocked)
        pace_block(pace, loop, request);
}

/* Return true if the client, which is not blocked, is due a heartbeat. */
bool pace_is_due(const struct pace *pace, const uv_loop_t *loop, const struct pace_times *times,
                 const struct http_request *request);

/* Return how long the client, which is blocked, has taken nothing, in ms. */
uint64_t pace_still_ms(struct pace *pace, const uv_loop_t *loop,
                       const struct http_request *request);

#endif
