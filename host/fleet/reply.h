/* Whom to tell how an operator's command ended, and lists of those who wait for that. */
#ifndef FLEET_REPLY_H
#define FLEET_REPLY_H

#include <sys/queue.h>

struct reply {
    /* Called once. error is for people, NULL if the command succeeded. */
    void (*done)(void *data, const char *error);
    void *data;
};

STAILQ_HEAD(reply_list, waiting_reply);

/* Add a copy; NULL is ignored. */
void replies_add(struct reply_list *replies, const struct reply *reply);

/* Call all of them and empty the list. */
void replies_send(struct reply_list *replies, const char *error);

#endif
