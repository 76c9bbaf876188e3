/*
 * JSON (RFC 8259) as bytes: checked, compacted and escaped without trees and
 * without allocation, since each event passes here. Trees are cJSON's.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stddef.h>
#include <sys/types.h>

#define JSON_DEPTH_MAX 512

/*
 * Return the length of the text without white space between its tokens, or
 * -EINVAL unless it is one valid JSON value in UTF-8 of at most JSON_DEPTH_MAX
 * levels.
 */
ssize_t json_check(const char *text, size_t length);

/* Copy valid JSON without white space between tokens; return the length. out may be text. */
size_t json_compact(char *out, const char *text, size_t length);

/* Return the length of UTF-8 text once escaped for a JSON string, or -EINVAL if it is not UTF-8. */
ssize_t json_escaped_length(const char *text, size_t length);

/* Write the text, escaped; return the length that json_escaped_length() gives. */
size_t json_escape(char *out, const char *text, size_t length);

struct buf;

/* Append the text as a JSON string with its quotes; bytes that are not UTF-8 become '?'. */
void json_append_string(struct buf *buf, const char *text);

/* Append ,"name":"value" unless the value is NULL or empty. */
void json_append_member(struct buf *buf, const char *name, const char *value);

#endif
