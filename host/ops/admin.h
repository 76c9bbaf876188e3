/*
 * The operators' unix socket, mode 0600. A client sends one line of JSON,
 *
 *     {"command":"list"|"refresh"}  or
 *     {"command":"reload"|"rollback"|"drain","name":"...","generation":N}
 *
 * and gets one line when the command is done: {"ok":true},
 * {"ok":false,"error":"..."}, or for list,
 * {"ok":true,"server":{"pid","listen","plugins","admin"},"plugins":[...]}. The answer to
 * rollback and drain has a "note" if what they do does not hold over a restart; only
 * rollback looks at generation. The answer to refresh has, once the configuration is taken,
 *
 *     "configuration":{"applied":[KEY...],"restart":[KEY...],"warnings":["..."]}
 *
 * with a KEY such as host.stall or plugin.echo.threads; those of restart need one.
 *
 * Policy: at most ADMIN_CLIENTS_MAX connections at a time and ADMIN_LINE_MAX bytes a
 * line; a further connection takes the place of the connection that has been silent
 * for longest. A client that takes longer than ADMIN_IDLE_MS to ask or to read is
 * closed. Only root and the server's own user may ask, and no process that descends
 * from the server: a plugin is no operator. Who is refused is told why.
 */
#ifndef OPS_ADMIN_H
#define OPS_ADMIN_H

#include "base/buf.h"
#include "fleet/registry.h"

#include <sys/types.h>
#include <uv.h>

#define ADMIN_CLIENTS_MAX 64
#define ADMIN_LINE_MAX    4096
#define ADMIN_IDLE_MS     10000

struct admin;

/* Who waits for the configuration to be read again. */
struct refresh {
    /* Called at most once, before the reply: what changed, a JSON object. */
    void (*report)(void *data, const struct buf *json);
    struct reply reply; /* with the data of both */
};

/* Folders for the socket if the configuration names none. */
#define ADMIN_FOLDERS    3
#define ADMIN_FOLDER_MAX 256

/*
 * Write where server and client look, in this order: sluice in $XDG_RUNTIME_DIR, if
 * that is set; /run/sluice; /tmp/sluice-UID. Return how many.
 */
unsigned admin_folders(char folders[ADMIN_FOLDERS][ADMIN_FOLDER_MAX]);

/*
 * Return 0 if nobody but root and this user can put a socket into the folder, which is
 * no link; -errno if not. *owner is its user.
 */
int admin_folder_check(const char *folder, uid_t *owner);

struct admin_settings {
    const char *path; /* CONFIG_AUTO: the first default that is free */
    const char
        *listen; /* URLs, separated by blanks, for list; the first port tells servers apart */
    const char *folder; /* of the plugins, for list */
    struct registry *registry;
    void (*refresh)(void *data, const struct refresh *asker);
    void *data; /* of refresh() */
};

/*
 * Listen, and make the socket's folder if it is missing. A socket that is another
 * server's is never taken: -EADDRINUSE, and why names its pid; for CONFIG_AUTO the
 * next name is admin-PORT.sock, without a port admin-pidPID.sock. -EEXIST if the path is no socket.
 */
int admin_open(uv_loop_t *loop, const struct admin_settings *settings, struct admin **out,
               struct why *why);

/* Return the socket's path. */
const char *admin_path(const struct admin *admin);

/*
 * Remove the socket, and answer all who wait or have not asked yet that the server is
 * stopping; their connections are closed when they have read that. Replies that come
 * later are ignored. NULL is ignored.
 */
void admin_close(struct admin *admin);

#endif
