/*
 * The runs of one worker by the numbers they have on its link. A number is
 * free again when the worker has reported the run's end, so that no late frame
 * can hit another run. A plain struct: zeroed is empty.
 */
#ifndef FLEET_NUMBERS_H
#define FLEET_NUMBERS_H

#include <stdint.h>

struct run;

struct numbers {
    struct run **taken; /* by number; NULL is free */
    uint32_t capacity;
    uint32_t *free; /* a stack */
    uint32_t free_count;
    uint32_t live;
};

uint32_t numbers_take(struct numbers *numbers, struct run *run);
void numbers_give_back(struct numbers *numbers, uint32_t number);

/* NULL if the number is not taken. */
struct run *numbers_find(const struct numbers *numbers, uint32_t number);

void numbers_finish(struct numbers *numbers);

#endif
