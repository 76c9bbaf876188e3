/*
 * Quotas: how many live runs each client has, for max_runs_per_client. A client is
 * the subject of its token, or its address. A client without live runs has no quota.
 */
#ifndef RUN_QUOTA_H
#define RUN_QUOTA_H

struct quota;

/* All quotas: a plain struct, zeroed is empty. */
struct quotas {
    void *tree; /* of tsearch(), by name */
};

/* Return the client's live runs. */
unsigned quotas_live(const struct quotas *quotas, const char *name);

/* Count one more live run of the client. */
struct quota *quota_take(struct quotas *quotas, const char *name);

/* Count one less. NULL does nothing. */
void quota_give_back(struct quotas *quotas, struct quota *quota);

#endif
