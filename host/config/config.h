/*
 * The configuration: an INI file with the sections [host] and [plugin NAME],
 * and assignments from the command line.
 *
 *     config_create()  every setting has its default
 *     config_read()    the file, if there is one
 *     config_set()     once for each --set; overrides the file
 *     config_check()   all of it
 *
 * A call that refuses something says where and why, in one line without a
 * newline. The configuration is then half changed: destroy it.
 *
 * The settings themselves are public; only config.c changes them.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <uthash.h>

/* Longest config_plugin_json(), in bytes; a plugin with more is refused. */
#define CONFIG_JSON_MAX (512 * 1024)

struct buf;
struct why;

/* An author's key. */
struct config_pair {
    char *key, *value;
    UT_hash_handle in_plugin; /* in plugin->pairs */
};

struct config_plugin {
    char *name; /* NULL in plugin_defaults */
    unsigned threads;
    size_t stack; /* bytes */
    unsigned workers;
    size_t memory_limit;    /* of a worker, bytes; 0 is none */
    unsigned max_runs;      /* of a worker; 0 is no limit */
    unsigned max_live;      /* runs at a time, more wait; 0 is no limit */
    unsigned max_queued;    /* runs that wait */
    char *protocols;        /* words of SETTING_PROTOCOL_NAMES */
    unsigned on_disconnect; /* as setting_disconnect() reads it */
    unsigned input_timeout; /* of a run that waits for a person, seconds; 0 is none */
    unsigned deadline;      /* of a run, seconds; 0 is none */
    unsigned cancel_grace;  /* seconds */
    unsigned log_rate;      /* lines a second, 0 is no limit */
    char *env;              /* variables that its workers get; see fleet/confinement.h */
    char *user;             /* of its workers; "" is the server's */
    char *sandbox;          /* no, files or yes */
    char *sandbox_read, *sandbox_write, *sandbox_connect;
    size_t core, nofile, nproc, as, fsize; /* as setrlimit(2) takes; or SETTING_LIMIT_AUTO */
    struct config_pair *pairs;             /* uthash: the author's keys, in the order first set */
    size_t json_size;                      /* of the pairs, bytes */
    UT_hash_handle in_config;              /* in config->sections */
};

struct config {
    char *listen;                         /* addresses, separated by commas and blanks */
    unsigned socket_mode;                 /* of unix sockets among them */
    char *trusted_proxies;                /* networks, separated by commas and blanks; may be "" */
    char *proxy_protocol;                 /* some of listen; may be "" */
    char *plugins;                        /* folder */
    size_t max_headers;                   /* bytes, with the request's line */
    size_t max_body;                      /* bytes */
    unsigned max_connections;             /* at a time */
    unsigned max_connections_per_address; /* 0 is no limit */
    unsigned max_runs;                    /* live ones */
    unsigned max_runs_per_client;         /* live ones of one subject or address; 0 is no limit */
    unsigned connection_timeout;          /* seconds */
    unsigned request_timeout;             /* seconds */
    unsigned heartbeat;                   /* seconds */
    unsigned stall;                       /* seconds */
    size_t log_size;                      /* of one run, bytes */
    size_t log_budget;                    /* of all runs, bytes */
    unsigned retention;                   /* of an ended run, seconds */
    char *tokens;                         /* file, "" is none */
    bool allow_anonymous;                 /* on every address, not only on loopback */
    char *allowed_hosts;                  /* separated by commas and blanks, or "*"; may be "" */
    char *public_url;                     /* without '/' at its end, or "" */
    char *default_agent;                  /* or "" */
    char *cors_origins;                   /* separated by commas and blanks, or "*"; may be "" */
    char *tls_certificate;                /* file, "" is none */
    char *tls_key;                        /* file, "" is none */
    char *user;                           /* whose process the server becomes, or "" */
    bool debug;                           /* the memory guard of front and workers is open */
    bool strict_modes;                    /* see base/modes.h */
    unsigned start_timeout;               /* seconds */
    unsigned drain_delay;                 /* seconds, 0 is none */
    unsigned shutdown_timeout;            /* seconds, 0 is at once */
    unsigned stuck_timeout;               /* seconds */
    unsigned drain_timeout;               /* seconds, 0 is no limit */
    unsigned max_generations;             /* of one plugin, live */
    unsigned log_level;                   /* an enum log_level */
    unsigned log_format;                  /* an enum log_format */
    char *admin;                          /* path of the operators' socket, or CONFIG_AUTO */
    char *state_folder;                   /* folder of what is kept of plugins, or CONFIG_AUTO */
    char *forward_headers;                /* names, separated by commas and blanks; may be "" */

    struct config_plugin *sections; /* uthash, in the order first named */
    struct config_plugin plugin_defaults;
};

/* As a path: let the host choose. */
#define CONFIG_AUTO "auto"

/* Return a configuration in which every setting has its default. */
struct config *config_create(void);

/* -errno if the file cannot be read, -EINVAL if something in it is refused. */
int config_read(struct config *config, const char *file, struct why *why);

/* assignment: host.KEY=VALUE or plugin.NAME.KEY=VALUE. -EINVAL if it is refused. */
int config_set(struct config *config, const char *assignment, struct why *why);

/*
 * Check, after all of the above, whether the settings go together; -EINVAL.
 * listen: the addresses as they are, or will be, bound.
 */
int config_check(const struct config *config, const char *listen, struct why *why);

/* Return the plugin's settings, the defaults if it has no section; never NULL. */
const struct config_plugin *config_plugin(const struct config *config, const char *name);

/* Return true if workers of some plugin are to be another user than the server. */
bool config_has_users(const struct config *config);

/*
 * Return what the plugin's create() gets: a JSON object with a string member for
 * each of the author's keys, without the host's; at most CONFIG_JSON_MAX bytes.
 * The caller frees it.
 */
char *config_plugin_json(const struct config *config, const char *name);

/* Swap contents, so that pointers to either config stay valid. */
void config_swap(struct config *a, struct config *b);

/* One setting whose value is another: host.KEY or plugin.NAME.KEY. */
typedef void config_take_change(void *data, const char *key, bool needs_restart);

/*
 * Call take() for each setting that differs, the authors' keys included, and leave
 * those that need a restart in `new` as they are in `old`: new then says what is in
 * force once it is taken.
 */
void config_compare(struct config *old, struct config *new, config_take_change *take, void *data);

/*
 * Call warn() for each key of a plugin's section that goes to the plugin but looks
 * like a key of the host, with a sentence for people.
 */
void config_review(const struct config *config, void (*warn)(void *data, const char *text),
                   void *data);

/* Write a commented file with every key at its default. */
void config_print_defaults(FILE *out);

/* config may be NULL. */
void config_destroy(struct config *config);

#endif
