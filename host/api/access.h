/*
 * Who may ask: web pages by their origin, as the Fetch standard has it (CORS),
 * and clients by their token (RFC 6750). Both are looked at before the routes;
 * what is refused is answered here, and carries what its page needs to read it.
 *
 * Without tokens, a server that is for its own machine is also asked by no other
 * name than that machine's.
 *
 * /healthz and /readyz need no token, and neither do preflights, which browsers
 * send without one.
 */
#ifndef API_ACCESS_H
#define API_ACCESS_H

#include "config/config.h"
#include "http/http.h"

struct access;

/* Keeps nothing of the configuration. -errno and an error as tokens_load(). */
int access_create(const struct config *config, struct access **out, char *error, size_t error_size);

/* NULL is fine. */
void access_destroy(struct access *access);

/*
 * The subject of the request, "" if there are no tokens or its route needs
 * none; valid as long as access. NULL if the request was answered.
 */
const char *access_check(const struct access *access, struct http_request *request);

#endif
