/* Encoders and terms (protocol/encoder.h), by small numbers, for fuzzers. */
#ifndef FUZZ_TERMS_H
#define FUZZ_TERMS_H

#include "protocol/encoder.h"

#define TERMS_ENCODERS 8
#define TERMS_WAYS     4

/* Return one of the encoders, a different one for each number below TERMS_ENCODERS. */
const struct encoder *terms_encoder(unsigned index);

/*
 * Append what a client may have said in its request: nothing for 0, in ways that differ for the
 * numbers below TERMS_WAYS, if the encoder knows as many. The native encoders have no terms.
 */
void terms_make(const struct encoder *encoder, unsigned which, struct buf *terms);

#endif
