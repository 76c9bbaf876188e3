/*
 * The operators' unix socket, mode 0600: a client sends one line of JSON,
 *
 *     {"command":"list"|"refresh"}  or
 *     {"command":"reload"|"rollback"|"drain","name":"..."}
 *
 * and gets one line back when it is done: {"ok":true}, {"ok":false,"error":"..."},
 * or for list, {"ok":true,"plugins":[...]}.
 *
 * Policy: at most ADMIN_CLIENTS_MAX connections at a time and ADMIN_LINE_MAX
 * bytes a line; what is beyond is closed.
 */
#ifndef OPS_ADMIN_H
#define OPS_ADMIN_H

#include "fleet/registry.h"

#define ADMIN_CLIENTS_MAX 64
#define ADMIN_LINE_MAX    4096

struct admin;

/*
 * Where the socket is unless the configuration says: in $XDG_RUNTIME_DIR, or
 * in /run/sluice for root, or in /tmp/sluice-UID. Also what clients connect to.
 */
void admin_default_path(char *path, size_t size);

/*
 * Listens at the path, whose folder is made if need be. refresh: reads the
 * configuration again, brings the registry up to it, and replies. -EADDRINUSE
 * if another server listens there, -EEXIST if the path is no socket.
 */
int admin_open(uv_loop_t *loop, const char *path, struct registry *registry,
               void (*refresh)(void *data, const struct reply *reply), void *data,
               struct admin **out);

/* Closes all connections and removes the socket. NULL is fine. */
void admin_close(struct admin *admin);

#endif
