/*
 * The libuv handles of one owner, closed together: the owner is called back
 * once, when the last of them is closed, and may free itself then.
 */
#ifndef BASE_HANDLES_H
#define BASE_HANDLES_H

#include <uv.h>

/* Part of the owner. */
struct handles {
    unsigned closing;
    void (*closed)(void *owner);
    void *owner;
};

/*
 * Close these handles, a NULL-terminated list of pointers to any libuv handles
 * that are open; closed(owner) runs from the loop. Their data no longer points
 * to the owner. More may be closed before closed() runs.
 */
void handles_close(struct handles *handles, void (*closed)(void *owner), void *owner, ...)
    __attribute__((sentinel));

#endif
