/*
 * The headers by which this server, and whatever stands before it, see the same
 * request (RFC 9112, 3.2 and 6): one Host, and one Content-Length, or
 * `Transfer-Encoding: chunked`, or nothing. Nothing here knows libmicrohttpd.
 *
 * Add all headers in their order, then ask for the fault.
 */
#ifndef HTTP_FRAMING_H
#define HTTP_FRAMING_H

#include <stdbool.h>
#include <stddef.h>

/* Zeroed: no headers. */
struct framing {
    unsigned hosts, lengths, encodings; /* headers of each */
    const char *length;                 /* the last; not copied */
    bool bad_name, bad_host, bad_length, not_chunked;
};

struct framing_fault {
    unsigned status;    /* of the refusal, after which the connection closes */
    const char *detail; /* a literal */
};

/* The texts end in NUL and must stay as long as the framing. */
void framing_add(struct framing *framing, const char *name, const char *value);

/* Return what is wrong, or NULL. */
const struct framing_fault *framing_fault(const struct framing *framing, bool http_1_1);

/* Return true if text, length bytes of it, is a name or address, with or without a port. May be
 * empty. */
bool framing_is_authority(const char *text, size_t length);

#endif
