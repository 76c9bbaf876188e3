#include "harness/list.h"

#include "base/mem.h"

#include <stdlib.h>

void list_add(struct list *list, void *item)
{
    list->items = mem_realloc(list->items, (list->count + 1) * sizeof *list->items);
    list->items[list->count++] = item;
}

void list_finish(struct list *list, void (*destroy)(void *item))
{
    for (size_t i = 0; i < list->count; i++)
        destroy(list->items[i]);
    free(list->items);
    *list = (struct list){0};
}
