#include "protocol/encoders.h"

#include "protocol/a2a.h"
#include "protocol/agui.h"
#include "protocol/aisdk.h"
#include "protocol/mcp.h"
#include "protocol/native.h"
#include "protocol/openai.h"
#include "protocol/responses.h"

static const struct encoder *const encoders[] = {
    &encoder_native,  &encoder_openai, &encoder_a2a, &encoder_responses,
    &encoder_message, &encoder_agui,   &encoder_mcp, &encoder_aisdk,
};

const struct encoder *encoder_find(const char *name)
{
    for (size_t i = 0; i < sizeof encoders / sizeof *encoders; i++) {
        if (strcmp(encoders[i]->name, name) == 0)
            return encoders[i];
    }
    return NULL;
}
