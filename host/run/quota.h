/*
 * Clients as the limit max_runs_per_client counts them: by the subject of their
 * token, or by their address, and how many live runs each has. One that has
 * none is not kept.
 */
#ifndef RUN_QUOTA_H
#define RUN_QUOTA_H

struct client;

/* All clients of the front: a plain struct, zeroed is empty. */
struct clients {
    void *tree; /* of tsearch(), by name */
};

unsigned clients_live(const struct clients *clients, const char *name);

/* One more live run of this client. */
struct client *client_take(struct clients *clients, const char *name);

/* One less. NULL is fine. */
void client_give_back(struct clients *clients, struct client *client);

#endif
