/* All encoders, by their names. */
#ifndef PROTOCOL_ENCODERS_H
#define PROTOCOL_ENCODERS_H

#include "protocol/encoder.h"

/* The names, for people. */
#define ENCODER_NAMES "native, message, openai, responses, ag-ui, ai-sdk, a2a, mcp"

/* Return the encoder with this name, or NULL. */
const struct encoder *encoder_find(const char *name);

#endif
