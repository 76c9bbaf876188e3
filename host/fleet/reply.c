#include "fleet/reply.h"

#include "base/mem.h"

#include <stdlib.h>

struct waiting_reply {
    struct reply reply;
    STAILQ_ENTRY(waiting_reply) in_list;
};

void replies_add(struct reply_list *replies, const struct reply *reply)
{
    struct waiting_reply *waiting;

    if (reply == NULL)
        return;
    waiting = mem_alloc(sizeof *waiting);
    waiting->reply = *reply;
    STAILQ_INSERT_TAIL(replies, waiting, in_list);
}

void replies_send(struct reply_list *replies, const char *error)
{
    struct waiting_reply *waiting;

    while ((waiting = STAILQ_FIRST(replies))) {
        STAILQ_REMOVE_HEAD(replies, in_list);
        waiting->reply.done(waiting->reply.data, error);
        free(waiting);
    }
}
