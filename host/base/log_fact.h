/*
 * A fact that the log tells: a level, who says it, a message, and keys with values.
 * Three shapes of it: a line of text, a line of JSON, and a record, in which a worker
 * hands it to the front.
 *
 *     2026-01-31T12:00:00.123Z info front worker ready plugin=echo pid=4711
 *     {"time":"2026-01-31T12:00:00.123Z","level":"info","module":"front",
 *      "message":"worker ready","plugin":"echo","pid":4711}                 (one line)
 *
 * Message, keys and values may be foreign. Whatever they hold, a line stays one line, is
 * UTF-8, and has no character that a terminal obeys or that turns letters round. Text has
 * such bytes as \xNN. JSON has such characters as \uNNNN, and U+FFFD for a byte that is
 * not UTF-8. No function here allocates.
 */
#ifndef BASE_LOG_FACT_H
#define BASE_LOG_FACT_H

#include <stdbool.h>
#include <stddef.h>

enum log_level { LOG_FATAL, LOG_ERROR, LOG_PLUGIN, LOG_WARN, LOG_INFO, LOG_DEBUG };

#define LOG_KEYS_MAX        12
#define LOG_RECORD_KEYS_MAX 8 /* those of a record; others are left out */

/* Longest message in bytes, and longest line with its newline; what is longer is cut. */
#define LOG_MESSAGE_MAX 4096
#define LOG_LINE_MAX    16384

struct log_key {
    const char *name; /* neither this nor the value is terminated */
    size_t name_length;
    const char *value;
    size_t length;
    bool is_number; /* in JSON */
};

/* Zeroed is empty. It points to texts of others. */
struct log_fact {
    enum log_level level;
    const char *module; /* who says it: front, worker, output, … */
    const char *message;
    size_t length; /* of the message */
    bool is_bare;  /* in text: "sluice: message", without time, level and module */
    struct log_key keys[LOG_KEYS_MAX];
    size_t key_count;
};

/* Add a key, unless there are LOG_KEYS_MAX. */
void log_fact_add(struct log_fact *fact, const char *name, const char *value, bool is_number);

/* Add the keys of a text "a=1 b=two"; a value is a number if it has only digits. */
void log_fact_add_text(struct log_fact *fact, const char *keys);

/* Write the fact as a line of at most size bytes, with its newline; return the length. size >=
 * 1024.
 */
size_t log_fact_text(const struct log_fact *fact, char *out, size_t size);
size_t log_fact_json(const struct log_fact *fact, char *out, size_t size);

/* Write the fact, without its module, as a record; return the length. size >= 1024. */
size_t log_fact_pack(const struct log_fact *fact, char *out, size_t size);

/*
 * Read a record, into which the fact then points; leave out keys that only the front may set,
 * such as plugin and pid. Return false if the record is malformed.
 */
bool log_fact_unpack(struct log_fact *fact, const char *record, size_t length);

/*
 * Write foreign text as a line of text has it, as far as whole characters fit; return the length.
 * What was escaped once stays as it is when it is logged.
 */
size_t log_escape(char *out, size_t size, const char *text, size_t length);

/* Return the level's word. */
const char *log_level_name(enum log_level level);

#endif
