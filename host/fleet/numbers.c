#include "fleet/numbers.h"

#include "base/mem.h"

#include <stdlib.h>

static void numbers_grow(struct numbers *numbers)
{
    uint32_t capacity = numbers->capacity ? numbers->capacity * 2 : 16;

    numbers->taken = mem_realloc(numbers->taken, capacity * sizeof *numbers->taken);
    numbers->free = mem_realloc(numbers->free, capacity * sizeof *numbers->free);
    for (uint32_t number = capacity; number-- > numbers->capacity;) {
        numbers->taken[number] = NULL;
        numbers->free[numbers->free_count++] = number;
    }
    numbers->capacity = capacity;
}

uint32_t numbers_take(struct numbers *numbers, struct run *run)
{
    uint32_t number;

    if (numbers->free_count == 0)
        numbers_grow(numbers);
    number = numbers->free[--numbers->free_count];
    numbers->taken[number] = run;
    numbers->live++;
    return number;
}

void numbers_give_back(struct numbers *numbers, uint32_t number)
{
    numbers->taken[number] = NULL;
    numbers->free[numbers->free_count++] = number;
    numbers->live--;
}

struct run *numbers_find(const struct numbers *numbers, uint32_t number)
{
    return number < numbers->capacity ? numbers->taken[number] : NULL;
}

void numbers_finish(struct numbers *numbers)
{
    free(numbers->taken);
    free(numbers->free);
    *numbers = (struct numbers){0};
}
