/*
 * libcurl, loaded when an agent makes its first request: it brings some thirty libraries, whose
 * names a plugin shall not find, and whose memory a plugin without requests does not need.
 */
#ifndef WORKER_CURL_H
#define WORKER_CURL_H

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

#define CURL_FUNCTIONS(X)  \
    X(easy_cleanup)        \
    X(easy_getinfo)        \
    X(easy_init)           \
    X(easy_pause)          \
    X(easy_setopt)         \
    X(easy_strerror)       \
    X(free)                \
    X(global_cleanup)      \
    X(global_init)         \
    X(multi_add_handle)    \
    X(multi_assign)        \
    X(multi_cleanup)       \
    X(multi_info_read)     \
    X(multi_init)          \
    X(multi_remove_handle) \
    X(multi_setopt)        \
    X(multi_socket_action) \
    X(slist_append)        \
    X(slist_free_all)      \
    X(url)                 \
    X(url_cleanup)         \
    X(url_get)             \
    X(url_set)             \
    X(url_strerror)

/* The functions of libcurl, each without its curl_. */
struct curl {
#define X(name) __typeof__(&curl_##name) name;
    CURL_FUNCTIONS(X)
#undef X
};

/* Load libcurl, once. Return NULL, with *reason in words, if this machine has none that fits.
 * Any thread. */
const struct curl *curl_load(const char **reason);

#endif
