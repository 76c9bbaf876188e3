/*
 * A setting: its name, the kind and range of its value, and the field that
 * holds it. Which settings there are is for others to say.
 *
 * To add a kind: a name below, its words in setting_wants(), and what it takes
 * in is_text() or setting_set().
 */
#ifndef FRONT_SETTING_H
#define FRONT_SETTING_H

#include <stddef.h>
#include <sys/socket.h>

/* Each with the type of its field; a text belongs to the field and is freed with free(). */
enum setting_kind {
    SETTING_PATH,    /* char *, not empty */
    SETTING_ADDRESS, /* char *, numeric ADDRESS:PORT */
    SETTING_HEADERS, /* char *, names separated by commas and blanks; may be "" */
    SETTING_COUNT,   /* unsigned */
    SETTING_SECONDS, /* unsigned */
    SETTING_SIZE,    /* size_t, bytes */
};

struct setting {
    enum setting_kind kind;
    const char *name;      /* NULL ends a table */
    size_t offset;         /* of the field in the struct that owns it */
    const char *initial;   /* the default */
    const char *min, *max; /* of a number, written as its values are; NULL: a text */
    const char *about;
};

/* Sets the field in owner; -EINVAL if the text is not what the setting wants. */
int setting_set(const struct setting *setting, const char *text, void *owner);

/* What it wants, in words that follow "must be". */
void setting_wants(const struct setting *setting, char *out, size_t out_size);

/* The socket address of a numeric ADDRESS:PORT; -EINVAL if it is none. */
int setting_address(const char *text, struct sockaddr_storage *out);

#endif
