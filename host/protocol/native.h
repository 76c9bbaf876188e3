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
 * where text joins the deltas of the text events. A truncated one (document.h) says
 * "truncated": true. When the run asks a person something the document ends with
 *
 *     "status": "waiting", "input_request": {"id","message",...}}
 */
#ifndef PROTOCOL_NATIVE_H
#define PROTOCOL_NATIVE_H

#include "protocol/encoder.h"

extern const struct encoder encoder_native;

/*
 * The same events for `onmessage` of an EventSource, which sees no event that has a name:
 *
 *     data: {"type":"<type>","seq":<sequence>,"data":<JSON>}
 *     id: <run>.<sequence>
 */
extern const struct encoder encoder_message;

#endif
