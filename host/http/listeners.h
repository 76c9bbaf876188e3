/*
 * The sockets on which the front accepts its clients. Their names are as the
 * setting `listen` has them: numeric ADDRESS:PORT, and unix:PATH.
 */
#ifndef HTTP_LISTENERS_H
#define HTTP_LISTENERS_H

#include <stdbool.h>
#include <sys/socket.h>
#include <uv.h>

struct listeners;
struct why;

/*
 * Bind and listen. names: separated by commas and blanks; proxied: those of them
 * whose clients send the header of the PROXY protocol; mode: of unix sockets.
 * A unix socket that nobody listens on is replaced. -errno and why.
 */
int listeners_open(const char *names, const char *proxied, unsigned mode, struct listeners **out,
                   struct why *why);

/* Return the names with the ports that the system chose, separated by blanks. */
const char *listeners_names(const struct listeners *listeners);

/* From now on accepted() gets each connection and takes it over. proxied: see above. */
void listeners_start(struct listeners *listeners, uv_loop_t *loop,
                     void (*accepted)(void *data, int fd, const struct sockaddr_storage *peer,
                                      bool proxied),
                     void *data);

/* Accept none for now, or go on. */
void listeners_pause(struct listeners *listeners, bool paused);

/* Call each() for all sockets; connections inherit the options that it sets. */
void listeners_each(struct listeners *listeners, void (*each)(int fd, unsigned value),
                    unsigned value);

/* Stop listening, and remove unix sockets; may be called again. */
void listeners_close(struct listeners *listeners);

/* listeners may be NULL. */
void listeners_destroy(struct listeners *listeners);

#endif
