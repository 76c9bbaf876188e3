/*
 * Why bytes are not JSON, or not UTF-8, in words for whoever wrote them: the place, what
 * stands there, what may, the bytes around the place, and what to write instead if that
 * can be told:
 *
 *     not JSON at byte 11: found 'B', wanted ',' or '}': {"name":"O"▸Brien"}; write \" for a
 *     quote inside a string
 *     not UTF-8 at byte 3: found byte 0xe9: caf▸\xe9; convert the text to UTF-8
 *
 * ▸ stands before the byte that is named; … stands for bytes that are left out. Foreign
 * bytes are escaped as in the log.
 */
#ifndef BASE_JSON_FAULT_H
#define BASE_JSON_FAULT_H

#include <stddef.h>

struct buf;

/* Append why json_check() refuses the text; nothing if it does not. */
void json_fault_tell(struct buf *buf, const char *text, size_t length);

/* Append why the text is not UTF-8; nothing if it is. */
void utf8_fault_tell(struct buf *buf, const char *text, size_t length);

/* Append foreign text, escaped; of a longer one this many bytes and …. */
void foreign_tell(struct buf *buf, const char *text, size_t most);

#endif
