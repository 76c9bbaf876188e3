/*
 * The operators' unix socket, mode 0600. A client sends one line of JSON,
 *
 *     {"command":"list"|"refresh"}  or
 *     {"command":"reload"|"rollback"|"drain","name":"..."}
 *
 * and gets one line when the command is done: {"ok":true},
 * {"ok":false,"error":"..."}, or for list, {"ok":true,"plugins":[...]}. The answer to
 * refresh has, once the configuration is taken,
 *
 *     "configuration":{"applied":[KEY...],"restart":[KEY...],"warnings":["..."]}
 *
 * with a KEY such as host.stall or plugin.echo.threads; those of restart need one.
 *
 * Policy: at most ADMIN_CLIENTS_MAX connections at a time and ADMIN_LINE_MAX
 * bytes a line; a connection beyond that is closed.
 */
#ifndef OPS_ADMIN_H
#define OPS_ADMIN_H

#include "base/buf.h"
#include "fleet/registry.h"

#define ADMIN_CLIENTS_MAX 64
#define ADMIN_LINE_MAX    4096

struct admin;

/* Who waits for the configuration to be read again. */
struct refresh {
    /* Called at most once, before the reply: what changed, a JSON object. */
    void (*report)(void *data, const struct buf *json);
    struct reply reply; /* with the data of both */
};

/*
 * The socket's path if the configuration names none, for server and client: in
 * $XDG_RUNTIME_DIR, or in /run/sluice for root, or in /tmp/sluice-UID.
 */
void admin_default_path(char *path, size_t size);

/*
 * Listen at the path; make its folder if it is missing. refresh() reads the
 * configuration again, swaps what has changed, and replies. -EADDRINUSE if
 * another server listens there, -EEXIST if the path is no socket.
 */
int admin_open(uv_loop_t *loop, const char *path, struct registry *registry,
               void (*refresh)(void *data, const struct refresh *asker), void *data,
               struct admin **out);

/* Close all connections and remove the socket. NULL is ignored. */
void admin_close(struct admin *admin);

#endif
