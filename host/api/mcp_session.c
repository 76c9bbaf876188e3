#include "api/mcp_session.h"

#include "base/buf.h"
#include "base/digest.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* flags, random bits, check value */
#define NONCE_BYTES 16
#define CHECK_BYTES 8
#define CHECK_AT    (1 + 2 * NONCE_BYTES)

struct mcp_sessions {
    char ended[MCP_SESSIONS_ENDED][MCP_SESSION_LENGTH + 1]; /* a ring */
    unsigned next;
};

struct mcp_sessions *mcp_sessions_create(void)
{
    return mem_alloc(sizeof(struct mcp_sessions));
}

void mcp_sessions_destroy(struct mcp_sessions *sessions)
{
    free(sessions);
}

void mcp_session_end(struct mcp_sessions *sessions, const char *id)
{
    memcpy(sessions->ended[sessions->next++ % MCP_SESSIONS_ENDED], id, MCP_SESSION_LENGTH);
}

static bool has_ended(const struct mcp_sessions *sessions, const char *id)
{
    for (unsigned i = 0; i < MCP_SESSIONS_ENDED; i++) {
        if (strcmp(sessions->ended[i], id) == 0)
            return true;
    }
    return false;
}

static void put_hex(char *to, const unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sprintf(to + 2 * i, "%02x", bytes[i]);
}

static void put_check(char id[MCP_SESSION_LENGTH + 1], const char *subject)
{
    unsigned char digest[DIGEST_SIZE];
    struct buf text = {0};

    buf_puts(&text, "mcp session\n");
    buf_append(&text, id, CHECK_AT);
    buf_puts(&text, subject);
    digest_make(buf_data(&text), buf_length(&text), digest);
    buf_finish(&text);
    put_hex(id + CHECK_AT, digest, CHECK_BYTES);
}

int mcp_session_make(const char *subject, unsigned flags, char id[MCP_SESSION_LENGTH + 1])
{
    unsigned char nonce[NONCE_BYTES];

    if (getrandom(nonce, sizeof nonce, 0) != (ssize_t)sizeof nonce)
        return -EIO;
    id[0] = (char)('0' + flags);
    put_hex(id + 1, nonce, NONCE_BYTES);
    put_check(id, subject);
    return 0;
}

bool mcp_session_read(const struct mcp_sessions *sessions, const char *id, const char *subject,
                      unsigned *flags)
{
    char wanted[MCP_SESSION_LENGTH + 1];

    if (strlen(id) != MCP_SESSION_LENGTH || id[0] < '0' || id[0] > '7')
        return false;
    memcpy(wanted, id, sizeof wanted);
    put_check(wanted, subject);
    *flags = (unsigned)(id[0] - '0');
    return strcmp(wanted, id) == 0 && !has_ended(sessions, id);
}
