/*
 * Writes JSON (RFC 8259) to the end of a buffer and puts the commas:
 *
 *     struct json_writer json = {.out = &buf};
 *
 *     json_open(&json, NULL, '{');
 *     json_text(&json, "name", "echo");
 *     json_open(&json, "pids", '[');
 *     json_number(&json, NULL, 4711);
 *     json_close(&json, ']');
 *     json_close(&json, '}');
 *
 * name is a member's name, written as it is; NULL inside an array and for the
 * outermost value. A plain struct; whoever nests bounds the depth.
 */
#ifndef BASE_JSON_WRITER_H
#define BASE_JSON_WRITER_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct json_writer {
    struct buf *out;
    bool comma; /* a value stands before the next one */
};

/* bracket is '{' or '['; of json_close(), '}' or ']'. */
void json_open(struct json_writer *json, const char *name, char bracket);
void json_close(struct json_writer *json, char bracket);

/* A string; bytes that are not UTF-8 become '?'. Writes nothing if text is NULL. */
void json_text(struct json_writer *json, const char *name, const char *text);
void json_number(struct json_writer *json, const char *name, uint64_t number);
void json_flag(struct json_writer *json, const char *name, bool flag);

/* A value that is JSON already. */
void json_raw(struct json_writer *json, const char *name, const char *value, size_t length);

#endif
