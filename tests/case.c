#include "case.h"

#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TIMEOUT_S = 120 }; /* a case that runs longer fails */

static struct case_entry *entries;
static char folder[32];

/* Sort by line, since constructors may run in any order. */
void case_add(struct case_entry *entry)
{
    struct case_entry **place = &entries;

    assert(!entries || strcmp(entries->file, entry->file) == 0);
    while (*place && (*place)->line < entry->line)
        place = &(*place)->next;
    entry->next = *place;
    *place = entry;
}

void case_folder_make(void)
{
    strcpy(folder, "/tmp/sluice-test.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chdir(folder), 0);
}

void case_folder_remove(void)
{
    DIR *files = opendir(folder);
    const struct dirent *file;

    ck_assert_ptr_nonnull(files);
    while ((file = readdir(files)))
        unlink(file->d_name);
    closedir(files);
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_int_eq(rmdir(folder), 0);
}

/* What disturbs a measurement makes it longer: the shortest of some counts. */
static clock_t shortest(clock_t (*took)(unsigned count), unsigned count)
{
    clock_t least = took(count);

    for (int i = 0; i < 4; i++) {
        clock_t next = took(count);
        least = next < least ? next : least;
    }
    return least;
}

void expect_no_walk(clock_t (*took)(unsigned count), unsigned count)
{
    clock_t few, many;

    if (getenv("SLUICE_SANITIZED"))
        return;
    few = shortest(took, count);
    many = shortest(took, 16 * count);
    /* A walk takes sixteen times as long; caches and clocks explain less. */
    ck_assert_msg(many < 5 * few + CLOCKS_PER_SEC / 1000,
                  "it took %ld us among %u, %ld us among %u", (long)few, count, (long)many,
                  16 * count);
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

/* Set name to the subject of the file: "run_times" for "tests/unit/test_run_times.c". */
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
