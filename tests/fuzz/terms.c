#include "terms.h"

#include "protocol/a2a.h"
#include "protocol/agui.h"
#include "protocol/aisdk.h"
#include "protocol/encoders.h"
#include "protocol/mcp.h"
#include "protocol/openai.h"
#include "protocol/responses.h"

#include <assert.h>
#include <string.h>

const struct encoder *terms_encoder(unsigned index)
{
    char names[] = ENCODER_NAMES, *rest = names, *name;

    index %= TERMS_ENCODERS;
    while ((name = strsep(&rest, ", "))) {
        if (*name != '\0' && index-- == 0)
            break;
    }
    assert(name);
    return encoder_find(name);
}

void terms_make(const struct encoder *encoder, unsigned which, struct buf *terms)
{
    static const char *const names[] = {"r-1", "0f0e0d0c-0b0a-0908-0706-050403020100"};
    static const unsigned flags[] = {0, MCP_LEGACY | MCP_ASKS, MCP_ASKS, 0};
    const char *id = which == 1 ? "1" : "\"a-2\"";
    struct responses_terms responses = {.from = which == 1 ? 0 : 3};
    unsigned char byte = which == 1 ? 0 : OPENAI_USAGE | OPENAI_EVENTS;

    if (strcmp(encoder->name, "mcp") == 0 && which > 0) {
        mcp_terms(terms, flags[which % 4], id, strlen(id), id, strlen(id));
        return;
    }
    if (which != 1 && which != 2)
        return;
    if (strcmp(encoder->name, "openai") == 0) {
        buf_append(terms, &byte, sizeof byte);
    } else if (strcmp(encoder->name, "responses") == 0) {
        buf_append(terms, &responses, sizeof responses);
    } else if (strcmp(encoder->name, "ag-ui") == 0) {
        agui_terms(names[which - 1], terms);
    } else if (strcmp(encoder->name, "ai-sdk") == 0) {
        aisdk_terms(which == 1 ? 0 : 5, names[which - 1], terms);
    } else if (strcmp(encoder->name, "a2a") == 0) {
        byte = A2A_TERMS | (which == 1 ? A2A_BARE : A2A_RPC);
        buf_append(terms, &byte, sizeof byte);
        if (byte & A2A_RPC)
            buf_puts(terms, id);
    }
}
