/* Whom to tell how an operator's command ended. */
#ifndef FLEET_REPLY_H
#define FLEET_REPLY_H

struct reply {
    /* Called once. error is for people, NULL if the command succeeded. */
    void (*done)(void *data, const char *error);
    void *data;
};

#endif
