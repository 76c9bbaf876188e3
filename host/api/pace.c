#include "api/pace.h"

#include "base/patience.h"
#include "http/answer.h"

/*
 * Time between the heartbeats of a client that sends no more, in ms. A proxy that
 * passed on that its client half-closed learns from one heartbeat that the client
 * left, and tells when the next one comes.
 */
#define HALF_CLOSED_MS 1000

void pace_block(struct pace *pace, const uv_loop_t *loop, const struct http_request *request)
{
    pace->on_way = http_stream_unsent(request);
    pace->moved_at = patience_now(loop);
}

/* A client whose machine owes an answer to the kernel's own question is asked nothing besides. */
bool pace_is_due(const struct pace *pace, const uv_loop_t *loop, const struct pace_times *times,
                 const struct http_request *request)
{
    uint64_t ms = times->heartbeat_ms;

    if (pace->half_closed && ms > HALF_CLOSED_MS)
        ms = HALF_CLOSED_MS;
    return uv_now(loop) - pace->sent_at >= ms && !http_stream_is_unanswered(request);
}

uint64_t pace_still_ms(struct pace *pace, const uv_loop_t *loop, const struct http_request *request)
{
    size_t on_way = http_stream_unsent(request);

    if (on_way < pace->on_way)
        pace_block(pace, loop, request);
    return patience_now(loop) - pace->moved_at;
}
