/*
 * Finding the run that a request is about, which may take time: the run may live
 * elsewhere. The request waits meanwhile.
 *
 * To use it: create, set what then() needs, start. A lookup frees itself, also when the
 * client leaves before the run is found.
 */
#ifndef API_LOOKUP_H
#define API_LOOKUP_H

#include "run/request.h"

struct api;
struct http_request;
struct run;

struct lookup {
    const struct api *api;
    struct http_request *request; /* NULL: its client left */
    /* The run is there, and the request's subject may see it. Answers. */
    void (*then)(const struct lookup *lookup, struct run *run);
    /* There is no such run, or not for this subject. Answers; NULL: refuse. */
    void (*none)(const struct lookup *lookup);
    struct answer_form form; /* for then() */
    char *name;              /* for then(); freed by the lookup */
    void *data;              /* for then(); freed by the lookup with free() */
    bool calling;            /* runs_lookup() has not returned */
    bool done;               /* the run was found, or not */
};

struct lookup *lookup_create(const struct api *api, struct http_request *request,
                             void (*then)(const struct lookup *lookup, struct run *run));

/* Look for the run with this id; then() may be called at once. The lookup is gone afterwards. */
void lookup_start(struct lookup *lookup, const char *id);

#endif
