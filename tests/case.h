/* Cases for Check that register themselves.
 *
 *     CASES("queued", .setup = setup, .teardown = teardown);
 *
 *     CASE(new_run_is_queued)
 *     {
 *         ck_assert(...);
 *     }
 *
 *     CASE_LOOP(any_length, 0, 12)
 *     {
 *         ck_assert(... _i ...);
 *     }
 *
 * A program links one file with cases and tests/case.c, which has main(). The cases run in the
 * order in which the file has them. CASES begins a group (a TCase of Check): the cases below, up to
 * the next CASES, run with its fixtures. Groups that stand directly below one another share the
 * cases that follow: these run once in each group. Cases above the first CASES have no fixture. */
#ifndef TESTS_CASE_H
#define TESTS_CASE_H

#include <check.h>
#include <time.h>

/* A group, if it has a label; or a case. */
struct case_entry {
    const char *file;
    int line;
    const char *label;
    SFun setup, teardown;           /* run around each case, in the process of the case */
    SFun setup_once, teardown_once; /* run around the group, in the process of main() */
    const TTest *test;
    int from, to; /* the case runs with each _i of [from, to) */
    int signal;   /* the case passes only if this signal ends it; 0 is none */
    struct case_entry *next;
};

/* Add the entry at its place in the order of the file. */
void case_add(struct case_entry *entry);

/* Fixtures for setup_once and teardown_once: the cases of the group run in an empty folder of their
 * own, which is removed with all files in it. */
void case_folder_make(void);
void case_folder_remove(void);

/*
 * Check that something takes about the same CPU time among many as among few: took() measures
 * it among so many, and again among sixteen times as many. Not checked under sanitizers.
 */
void expect_no_walk(clock_t (*took)(unsigned count), unsigned count);

#define CASES(...)                  CASE_ENTRY_(__LINE__, .label = __VA_ARGS__)
#define CASE(name)                  CASE_(name, .to = 1)
#define CASE_LOOP(name, from_, to_) CASE_(name, .from = (from_), .to = (to_))
#define CASE_SIGNAL(name, signal_)  CASE_(name, .to = 1, .signal = (signal_))

#define CASE_(name, ...)                                                     \
    static void name##_fn(int _i);                                           \
    static const TTest name##_test = {#name, name##_fn, __FILE__, __LINE__}; \
    CASE_ENTRY_(name, .test = &name##_test, __VA_ARGS__);                    \
    static void name##_fn(CK_ATTRIBUTE_UNUSED int _i)

#define CASE_ENTRY_(id, ...) CASE_ENTRY_OF_(id, __VA_ARGS__)
#define CASE_ENTRY_OF_(id, ...)                                  \
    static struct case_entry case_entry_##id;                    \
    static void __attribute__((constructor)) case_add_##id(void) \
    {                                                            \
        case_add(&case_entry_##id);                              \
    }                                                            \
    static struct case_entry case_entry_##id = {.file = __FILE__, .line = __LINE__, __VA_ARGS__}

#endif
