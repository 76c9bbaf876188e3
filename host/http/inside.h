/*
 * The server, its connections and its requests, for http.c, request.c and answer.c
 * alone, and the verbs that these three have for each other.
 */
#ifndef HTTP_INSIDE_H
#define HTTP_INSIDE_H

#include "base/handles.h"
#include "http/answer.h"
#include "http/conn.h"
#include "http/deadlines.h"
#include "http/http.h"
#include "http/request.h"
#include "http/target.h"

#include <microhttpd.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/queue.h>

#if MHD_VERSION >= 0x00097002
typedef enum MHD_Result mhd_result;
#else
typedef int mhd_result;
#endif

/* Whether libmicrohttpd can be told to be strict and answer what it then refuses. */
static inline bool library_is_strict(void)
{
    return strcmp(MHD_get_version(), "1") >= 0;
}

#define HEADERS_MAX 16

struct http {
    uv_loop_t *loop;
    struct MHD_Daemon *daemon;
    uv_poll_t poll;         /* its epoll descriptor */
    uv_timer_t timer;       /* when it wants to run next */
    uv_idle_t turn;         /* active if that is at once */
    struct handles handles; /* those three, when they are closed */
    bool is_tls;
    struct listeners *listeners;
    struct arrivals *arrivals;     /* connections whose proxies have not said for whom */
    struct networks *proxies;      /* the trusted ones */
    TAILQ_HEAD(, http_peer) added; /* which libmicrohttpd has not started */
    size_t connections;            /* with arrivals */
    size_t max_connections;
    size_t handshakes;  /* connections that may be in one */
    unsigned vain_runs; /* in a row; nothing was begun, received or ended in them */
    size_t max_body;
    bool is_full; /* it was said that there are no more connections */
    unsigned stall_s;
    const struct http_handler *handler;
    void *data;
    struct deadlines *deadlines; /* of http_peer.deadline */
    struct lingers *lingers;
    TAILQ_HEAD(, http_request) requests;
    size_t open;
};

/* A connection, from its start to its end. */
struct http_peer {
    struct deadline deadline;          /* first; set while the connection owes a request */
    struct MHD_Connection *connection; /* NULL until it is started */
    int fd;
    TAILQ_ENTRY(http_peer) in_added; /* in http->added, until then */
    bool in_handshake;               /* TLS has not delivered a request yet */
    bool answered;                   /* a request was answered before */
    bool still_sends;                /* its last answer came before the end of its request */
    unsigned stall_s;                /* that its socket has */
    struct sockaddr_storage client;
    char address[INET6_ADDRSTRLEN]; /* the same as text */
};

/*
 * The states of a request, and what leads from one to another:
 *
 *     RECEIVING ──► HANDLING ──► REPLIED ◄──┐
 *                      │ │                  │ http_reply
 *                      │ └─────► WAITING ───┤
 *         http_stream  │                    │ http_stream
 *                      └───────► OPENING ◄──┘
 *                                   │ on_read: the headers are out
 *                                   ▼
 *                               STREAMING ──► ENDED    http_stream_end
 *                                   │
 *                                   └───────► RESET    http_stream_reset
 */
enum request_state {
    REQUEST_ARRIVING, /* its headers are not there; it does not count as open */
    REQUEST_RECEIVING,
    REQUEST_HANDLING, /* its handler runs */
    REQUEST_WAITING,  /* for its answer */
    REQUEST_REPLIED,
    REQUEST_OPENING,   /* a stream whose headers are not out */
    REQUEST_STREAMING, /* its connection is suspended */
    REQUEST_ENDED,     /* the stream is whole */
    REQUEST_RESET,
};

struct http_request {
    struct conn *conn; /* first, with corked: each send of a stream looks at both */
    bool corked;       /* the headers leave with the stream's first bytes, or with all of it */
    struct http *http;
    struct http_peer *peer;
    struct MHD_Connection *connection;
    const char *method;
    char *room; /* the target points into it */
    struct target target;
    const char *bad_target;     /* what is wrong with it, or NULL */
    const char *version_expect; /* where the version should begin in libmicrohttpd's buffer */
    char *subject;
    const struct problem_shape *problem_shape; /* NULL: problem documents */
    char *problem_id;                          /* see http_set_problem_shape(); or NULL */
    char *client;                              /* address of a trusted proxy's client, else NULL */
    bool http_1_1;
    enum request_state state;
    bool too_large;
    bool crowded;    /* its client has no room for its body */
    uint64_t length; /* of its body, 0 if that is not known */
    size_t body_charge, answer_charge;
    struct buf body;
    struct MHD_Response *response; /* while its headers are being collected, and until queued */
    struct {
        const char *name;
        char *value;
    } headers[HEADERS_MAX];
    int header_count;
    unsigned status;
    const struct http_stream_handler
        *holder; /* who waits or streams; NULL: nobody, or it was told */
    void *data;
    TAILQ_ENTRY(http_request) in_http; /* in http->requests */
};

/* ---- http.c ---- */

/*
 * Needed after a connection was resumed, because libmicrohttpd's timeout does
 * not count it, and after one was closed, because libmicrohttpd at its limit of
 * connections listens again only when it runs once more.
 */
void http_run_soon(struct http *http);

/* TLS has delivered a request. */
void peer_end_handshake(struct http *http, struct http_peer *peer);

/* Set how long the client's machine may give no sign of life. */
void peer_set_stall(struct http_peer *peer, unsigned stall_s);

/* ---- request.c ---- */

/* libmicrohttpd calls these: for the first line, for each further part, at the end. */
void *request_on_target(void *data, const char *text, struct MHD_Connection *connection);
mhd_result request_on_access(void *data, struct MHD_Connection *connection, const char *path,
                             const char *method, const char *version, const char *upload,
                             size_t *upload_size, void **request_slot);
void request_on_completed(void *data, struct MHD_Connection *connection, void **request_slot,
                          enum MHD_RequestTerminationCode code);

/* Charge the request's client; false if it has no room. */
bool request_take(struct http_request *request, size_t *charge, size_t bytes);

/* ---- answer.c ---- */

/* Hand the response over to libmicrohttpd. */
mhd_result request_queue(struct http_request *request);

/* Suspend the connection of a request that waits for its answer. */
mhd_result request_park(struct http_request *request);

/* Tell whoever holds the request that its client is gone, once. */
void request_tell_left(struct http_request *request);

/* Reset the connection. */
void request_reset(struct http_request *request);

/* The request is over: let out what the cork holds, and free what is left of its answer. */
void request_drop_answer(struct http_request *request);

#endif
