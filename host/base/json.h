/*
 * JSON (RFC 8259) on the way of an event: checked and copied as bytes, no
 * trees, no allocation. For trees there is cJSON.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stddef.h>
#include <sys/types.h>

#define JSON_DEPTH_MAX 512

/*
 * The length of the text without white space between its tokens; -EINVAL if
 * it is not one valid JSON value in UTF-8, or nested deeper than JSON_DEPTH_MAX.
 */
ssize_t json_check(const char *text, size_t length);

/* Copies valid JSON without white space between tokens; returns the length. out may be text. */
size_t json_compact(char *out, const char *text, size_t length);

/*
 * The length of UTF-8 text as the inside of a JSON string; -EINVAL if it is
 * not UTF-8.
 */
ssize_t json_escaped_length(const char *text, size_t length);

/* Writes it; returns the length. */
size_t json_escape(char *out, const char *text, size_t length);

struct buf;

/* Appends a whole JSON string; text that is not UTF-8 has its bad bytes replaced by '?'. */
void json_append_string(struct buf *buf, const char *text);

/* Appends ,"name":"value" unless the value is NULL or empty. */
void json_append_member(struct buf *buf, const char *name, const char *value);

#endif
