/*
 * The user that this process runs as. A process that may change its user, as root's may,
 * becomes another one in three steps:
 *
 *     user_choose()   before it opens anything: is there such a user?
 *     user_give()     files it has made so far are the user's from now on
 *     user_become()   for good
 *
 * A user is written NAME, with all groups of the system's user database, or NAME:GROUP,
 * with GROUP in place of the user's own first one. Functions that refuse something
 * return -errno and say why, in words that begin with "user = ".
 */
#ifndef BASE_USER_H
#define BASE_USER_H

#include <stdbool.h>
#include <sys/types.h>

struct why;

/* Return true if this machine has the user and the group. */
bool user_is_known(const char *text);

/*
 * Choose whom to become; nobody, if this process is that user. -ENOENT if there is no such
 * user, -EPERM if this process may not change its user, or would become root.
 */
int user_choose(const char *text, struct why *why);

/*
 * Give a file, socket or folder that is root's to the chosen user. Without a chosen user, and for
 * what is not root's or has another name as well, do nothing. The last part of
 * the path is not followed. -errno.
 */
int user_give(const char *path);

/* The same for a folder, all that is in it and in its folders. */
int user_give_folder(const char *path);

/*
 * Become the chosen user, if there is one, with its groups, HOME, USER and LOGNAME, without
 * capabilities and without a way back. With may_switch this process and those that it
 * executes may still become other users, and this process may send them signals. Call
 * it before there are threads, and set the memory guard again after it.
 */
int user_become(bool may_switch, struct why *why);

/*
 * Stay who this process is: give up what it has of another's may_switch. Root gives up
 * nothing. -errno.
 */
int user_stay(void);

/* Return true if workers of this process may be other users. */
bool user_may_switch(void);

/* Return the name of the user that this process has become, NULL if it has not changed. */
const char *user_became(void);

/* Return the user that this process is or, after user_choose(), will be. */
uid_t user_self(void);

#endif
