/*
 * JSON (RFC 8259) as bytes: checked, compacted and escaped without trees and
 * without allocation, since each event passes here. Trees are cJSON's.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define JSON_DEPTH_MAX 512
#define JSON_NAME_MAX  32 /* of json_member_text() */

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

/* Return how many bytes at the start of valid UTF-8 text, in whole characters, take at most `room`
 * bytes once escaped. */
size_t json_escaped_fit(const char *text, size_t length, size_t room);

/* Write the text, escaped; return the length that json_escaped_length() gives. */
size_t json_escape(char *out, const char *text, size_t length);

struct buf;

/* Append the text as a JSON string with its quotes; bytes that are not UTF-8 become '?'. */
void json_append_string(struct buf *buf, const char *text);

/* Put '?' in the place of each byte that is not UTF-8. */
void json_make_utf8(char *text);

/* json_member.c: write what stands between the quotes of a JSON string, half a surrogate pair as
 * U+FFFD; return its length, which is not more than it had. */
size_t json_unescape(char *out, const char *text, size_t length);

/*
 * json_member.c: append the object's member of this name, if it is a string, without quotes and
 * escapes: half a surrogate pair becomes U+FFFD. Return false if there is none. The text may be
 * anything; it is read up to the member. Allocates only what out lacks: in a crash, nothing, if out
 * has room for as many bytes as the text has.
 */
bool json_member_text(const char *json, size_t length, const char *name, struct buf *out);

/*
 * json_member.c: set where the value of the object's first member of this name stands in the
 * text. Return false if there is none. The text may be anything; it is read up to the member.
 */
bool json_member_find(const char *json, size_t length, const char *name, const char **value,
                      size_t *value_length);

/* Return the length of the JSON value at the text's start, 0 if there is none. */
size_t json_value_length(const char *json, size_t length);

/* Append ,"name":"value" unless the value is NULL or empty. */
void json_append_member(struct buf *buf, const char *name, const char *value);

#endif
