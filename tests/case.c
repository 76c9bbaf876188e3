#include "case.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TIMEOUT_S = 120 }; /* a case that hangs fails after this time */

static struct case_entry *entries;

/* Constructors run in any order: the line decides. */
void case_add(struct case_entry *entry)
{
    struct case_entry **place = &entries;

    assert(!entries || strcmp(entries->file, entry->file) == 0);
    while (*place && (*place)->line < entry->line)
        place = &(*place)->next;
    entry->next = *place;
    *place = entry;
}

static void add_group(Suite *suite, const struct case_entry *group)
{
    TCase *tcase = tcase_create(group->label);
    const struct case_entry *entry = group->next;

    suite_add_tcase(suite, tcase);
    tcase_set_timeout(tcase, TIMEOUT_S);
    tcase_add_checked_fixture(tcase, group->setup, group->teardown);
    tcase_add_unchecked_fixture(tcase, group->setup_once, group->teardown_once);
    while (entry && entry->label)
        entry = entry->next;
    for (; entry && !entry->label; entry = entry->next)
        _tcase_add_test(tcase, entry->test, entry->signal, 0, entry->from, entry->to);
}

/* Set name, of this size, to what the file is about: "run_times" for "tests/unit/test_run_times.c".
 */
static void name_of(const char *file, char *name, size_t size)
{
    const char *base = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;

    base += strncmp(base, "test_", 5) == 0 ? 5 : 0;
    snprintf(name, size, "%.*s", (int)strcspn(base, "."), base);
}

int main(void)
{
    char name[64];
    Suite *suite;
    SRunner *runner;
    int failed;

    assert(entries);
    name_of(entries->file, name, sizeof name);
    suite = suite_create(name);
    if (!entries->label)
        add_group(suite, &(struct case_entry){.label = name, .next = entries});
    for (const struct case_entry *entry = entries; entry; entry = entry->next) {
        if (entry->label)
            add_group(suite, entry);
    }
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
