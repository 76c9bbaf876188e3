/* The plugin under test; see agent_test.h. What happens outside of a run is that of the one used
 * last. */
#ifndef HARNESS_TEST_H
#define HARNESS_TEST_H

#include "agent_test.h"

#include <stdbool.h>

/* A line for agent_test_log(); test is NULL for the one used last. Locked. */
void test_log(struct agent_test *test, const char *level, const char *text);

/* It emitted outside of a run. Locked. */
void test_count_stray(void);

/* Whether this thread is in a callback of the plugin's that is not handle(). */
bool test_is_loading(void);

#endif
