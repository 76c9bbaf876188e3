/*
 * Bodies of requests as trees of cJSON from which nothing is lost. cJSON's numbers are doubles,
 * and to print those takes long: here they are kept as their text, of type cJSON_Raw, with their
 * value beside it. Its strings end with a NUL: a body that has one in a string is refused.
 */
#ifndef PROTOCOL_BODY_H
#define PROTOCOL_BODY_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * Set the tree of one valid JSON value, the caller's for cJSON_Delete(). -EILSEQ: a string has
 * the character U+0000. -EINVAL: there is no memory. Half a surrogate pair becomes U+FFFD.
 */
int body_read(const char *json, size_t length, cJSON **tree);

/* Return true if the item is a number, and set its value. */
bool body_number(const cJSON *item, double *value);

#endif
