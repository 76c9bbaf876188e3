/*
 * Sessions of MCP. A session's id says all that there is to know of it, so none is kept, and
 * one outlives a restart of the server: what the client can do, 128 random bits, and a check
 * value over these and the client's subject. It gives no access: it only separates the
 * requests of one client from those of others of the same subject.
 *
 * The sessions that clients have ended are remembered, the last MCP_SESSIONS_ENDED of them.
 */
#ifndef API_MCP_SESSION_H
#define API_MCP_SESSION_H

#include <stdbool.h>

#define MCP_SESSION_LENGTH 49
#define MCP_SESSIONS_ENDED 256

struct mcp_sessions;

struct mcp_sessions *mcp_sessions_create(void);
void mcp_sessions_destroy(struct mcp_sessions *sessions);

/* flags: MCP_... of protocol/mcp.h. -EIO if there is no randomness. */
int mcp_session_make(const char *subject, unsigned flags, char id[MCP_SESSION_LENGTH + 1]);

/* Return false if there is no such session, or no longer, or not for this subject. */
bool mcp_session_read(const struct mcp_sessions *sessions, const char *id, const char *subject,
                      unsigned *flags);

/* The id must be that of a session. */
void mcp_session_end(struct mcp_sessions *sessions, const char *id);

#endif
