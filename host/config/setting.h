/*
 * A setting: its name, the kind and range of its value, and the field that
 * holds it. config.c has the tables of settings.
 *
 * To add a kind: a name below, its words in setting_wants(), and what it takes
 * in is_text() or setting_set().
 */
#ifndef CONFIG_SETTING_H
#define CONFIG_SETTING_H

#include <limits.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* Each with the type of its field; a text belongs to the field and is freed with free(). */
enum setting_kind {
    SETTING_PATH,               /* char *, not empty */
    SETTING_FILE,               /* char *, "" for none */
    SETTING_ADDRESSES,          /* char *, numeric ADDRESS:PORT and unix:PATH, separated likewise */
    SETTING_OPTIONAL_ADDRESSES, /* the same, may be "" */
    SETTING_NETWORKS,           /* char *, as networks_create() reads it */
    SETTING_MODE,               /* unsigned, octal */
    SETTING_HEADERS,            /* char *, names separated by commas and blanks; may be "" */
    SETTING_HOSTS,      /* char *, names and addresses separated by commas and blanks, or "*" */
    SETTING_ORIGINS,    /* char *, web origins separated by commas and blanks, or "*"; may be "" */
    SETTING_SWITCH,     /* bool, yes or no */
    SETTING_VARIABLES,  /* char *, NAME, NAME* and NAME=VALUE, separated like those; may be "" */
    SETTING_USER,       /* char *, USER or USER:GROUP of this machine, or "" */
    SETTING_SANDBOX,    /* char *, no, files or yes */
    SETTING_PATHS,      /* char *, absolute paths with ':' between them; may be "" */
    SETTING_PORTS,      /* char *, TCP ports separated by commas and blanks; may be "" */
    SETTING_DISCONNECT, /* unsigned, seconds; see setting_disconnect() */
    SETTING_WORD,       /* unsigned, the place of the word among those of min */
    SETTING_PROTOCOLS,  /* char *, some of SETTING_PROTOCOL_NAMES, likewise; not empty */
    SETTING_URL,        /* char *, http or https, or "" */
    SETTING_AGENT,      /* char *, an agent's name, or "" */
    SETTING_COUNT,      /* unsigned */
    SETTING_SECONDS,    /* unsigned */
    SETTING_SIZE,       /* size_t, bytes */
    SETTING_LIMIT,      /* size_t, SETTING_LIMIT_AUTO for auto */
};

/* When a new value takes effect. */
enum setting_change {
    SETTING_LIVE,          /* when the configuration is read again */
    SETTING_RESTART,       /* when the server starts again */
    SETTING_RESTART_IF_SET /* likewise whether it is set; a new value takes effect when read again
                            */
};

struct setting {
    enum setting_kind kind;
    const char *name; /* NULL ends a table */
    size_t offset;    /* of the field in the struct that owns it */
    enum setting_change change;
    const char *initial;   /* the default */
    const char *min, *max; /* of a number, written as its values are; NULL: a text. Of a
                              SETTING_WORD, min has the words: "text, json" */
    const char *about;
};

#define SETTING_LIMIT_AUTO SIZE_MAX

/* The protocols in which clients may talk to an agent; api/protocols.c has them. */
#define SETTING_PROTOCOL_NAMES "native, openai, responses, ag-ui, ai-sdk, a2a, mcp"

/* Set the field in owner; -EINVAL if the text is not what the setting wants. */
int setting_set(const struct setting *setting, const char *text, void *owner);

bool setting_differs(const struct setting *setting, const void *from, const void *to);

/* Free the field in owner if it is a text. */
void setting_finish(const struct setting *setting, void *owner);

/* Swap the values of two owners. */
void setting_swap(const struct setting *setting, void *one, void *other);

/* Return true if going from the value in `from` to the value in `to` needs a restart. */
bool setting_needs_restart(const struct setting *setting, const void *from, const void *to);

/* Write what the setting wants, in words that follow "must be". */
void setting_wants(const struct setting *setting, char *out, size_t out_size);

/* When a run stops after its last client left: at once, never, or after a number of seconds. */
#define DISCONNECT_CANCEL      0u
#define DISCONNECT_CONTINUE    UINT_MAX
#define DISCONNECT_SECONDS_MAX 86400u
#define DISCONNECT_WANTS       "cancel, continue, or 1 to 86400 seconds"

/* Read cancel, continue or a number of seconds; -EINVAL. */
int setting_disconnect(const char *text, unsigned *out);

/*
 * Find the next word of a text whose words are separated by commas and blanks:
 * move *text to its start and return its length, 0 if there is none.
 */
size_t setting_word(const char **text);

/* Return true if the word is one of such a text's, case counting. */
bool setting_has_word(const char *text, const char *word);

/* Read a whole decimal number from min to max; -EINVAL. */
int setting_number(const char *text, unsigned min, unsigned max, unsigned *out);

/* Return the first word of a text that is not a word of all, or NULL. */
const char *setting_odd_word(const char *text, const char *all);

/* Return true if only this machine can reach the addresses of a text, which may be unix:PATH. */
bool setting_is_loopback(const char *text);

/* Return true if an IPv4 address, in network byte order, is in 127.0.0.0/8. */
bool setting_is_loopback_v4(struct in_addr address);

#endif
