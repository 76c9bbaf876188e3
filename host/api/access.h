/*
 * Who may ask: web pages by their origin, as the Fetch standard says (CORS),
 * and clients by their token (RFC 6750). Pages are checked before the routes, tokens
 * after them. Refusals are answered here, with the headers that a page needs to read them.
 *
 * Without tokens, the server must be asked by an address, as localhost or by a
 * name of allowed_hosts.
 *
 * Preflights need no token: browsers send them without one.
 */
#ifndef API_ACCESS_H
#define API_ACCESS_H

#include "config/config.h"
#include "http/request.h"

#include <stdbool.h>

struct access;
struct tokens;

/*
 * Copies the settings that it needs, and takes over the tokens, NULL for none. listen:
 * the address as it is, or will be, bound.
 */
struct access *access_create(const struct config *config, const char *listen,
                             struct tokens *tokens);

/* Take the tokens out, NULL for none, to be handed to the next access_create(). */
struct tokens *access_take_tokens(struct access *access);

/* access may be NULL. */
void access_destroy(struct access *access);

/* Check the host's name and the origin of a web page; false if the request was answered. */
bool access_check_page(const struct access *access, struct http_request *request);

/*
 * Return the subject of the request's token: "" if there are no tokens; valid as long
 * as access. NULL if the request was answered.
 */
const char *access_check_token(const struct access *access, struct http_request *request);

#endif
