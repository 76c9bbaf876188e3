/* Pointers that are only added. Zeroed is empty. */
#ifndef HARNESS_LIST_H
#define HARNESS_LIST_H

#include <stddef.h>

struct list {
    void **items;
    size_t count;
};

/* Each has its own memory, so that it stays where it is. */
void list_add(struct list *list, void *item);

/* Destroys each of them. */
void list_finish(struct list *list, void (*destroy)(void *item));

#endif
