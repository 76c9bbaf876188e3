/*
 * The native protocol: server-sent events as the WHATWG HTML standard has them
 * (section 9.2), LF only, one line of compact JSON an event:
 *
 *     event: <type>
 *     data: <JSON>
 *     id: <run>.<sequence>
 *
 * The id comes last, for clients that take it as soon as its line is there: a client
 * that is cut inside of the event has not seen the id then.
 *
 * Its document is
 *
 *     {"run","agent","version","generation","text","usage"?,"status","result"?,"error"?}
 *
 * where text joins the deltas of the text events. A document takes at most
 * NATIVE_TEXT_MAX bytes of text, and no more than there is room for; then it says
 * "truncated": true, as it does if the first events are no longer kept.
 */
#ifndef PROTOCOL_NATIVE_H
#define PROTOCOL_NATIVE_H

#include "protocol/encoder.h"

#define NATIVE_TEXT_MAX (8u * 1024 * 1024)

extern const struct encoder encoder_native;

#endif
