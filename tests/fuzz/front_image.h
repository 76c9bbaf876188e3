/* Images without files: a copy is done when the model says so, and may fail. */
#ifndef TESTS_FUZZ_FRONT_IMAGE_H
#define TESTS_FUZZ_FRONT_IMAGE_H

#include <stdbool.h>

/* The copy that is under way fails, or the next one. */
void image_fail_copy(void);

/* Finish the copy that is under way, if there is one. */
void image_turn(void);

bool image_is_copied(void);

/* Images that are not freed. */
unsigned image_count(void);

#endif
