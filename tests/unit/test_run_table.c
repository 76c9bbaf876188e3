/* The table of runs: keys of idempotency, and the live runs of a client. */
#include "../case.h"
#include "run_fixture.h"

#include <stdio.h>
#include <string.h>

static struct run *create_with_key(const char *subject, const char *key)
{
    static unsigned char digest[DIGEST_SIZE];

    memset(digest, key[0], sizeof digest);
    request.subject = subject;
    request.key = key;
    request.digest = digest;
    return create_run();
}

CASES("keys", .setup = setup_runs, .teardown = teardown);

CASE(no_key)
{
    run = create_run();
    ck_assert_ptr_null(runs_find_key(runs, "", "echo", ""));
    ck_assert_ptr_null(runs_find_key(runs, "", "echo", "k"));
}

CASE(found_by_key)
{
    unsigned char digest[DIGEST_SIZE];

    run = create_with_key("alice", "k");
    memset(digest, 'k', sizeof digest);
    ck_assert_ptr_eq(runs_find_key(runs, "alice", "echo", "k"), run);
    ck_assert_mem_eq(run_digest(run), digest, sizeof digest);
}

CASE(key_is_of_subject_and_agent)
{
    struct run *bobs = create_with_key("bob", "k"), *other;

    request.agent = "other";
    other = create_with_key("alice", "k");
    request.agent = "echo";
    run = create_with_key("alice", "k");
    ck_assert_ptr_eq(runs_find_key(runs, "alice", "echo", "k"), run);
    ck_assert_ptr_eq(runs_find_key(runs, "bob", "echo", "k"), bobs);
    ck_assert_ptr_eq(runs_find_key(runs, "alice", "other", "k"), other);
    ck_assert_ptr_null(runs_find_key(runs, "bob", "other", "k"));
    ck_assert_ptr_null(runs_find_key(runs, "", "echo", "k"));
    ck_assert_ptr_null(runs_find_key(runs, "alice", "echo", "K"));
    ck_assert_ptr_null(runs_find_key(runs, "alice", "echo", ""));
    ck_assert_ptr_null(runs_find_key(runs, "aliceecho", "", "k"));
    run_cancel(bobs);
    run_cancel(other);
    run_unref(bobs);
    run_unref(other);
}

CASE(found_by_key_after_its_end)
{
    run = create_with_key("", "k");
    run_cancel(run);
    ck_assert_ptr_eq(runs_find_key(runs, "", "echo", "k"), run);
}

/* The key is free after its run is forgotten, even if a reader still holds the run. */
CASE(key_is_forgotten_with_its_run)
{
    struct run *old = create_with_key("", "k");

    run_cancel(old);
    forget_all();
    ck_assert_ptr_null(runs_find_key(runs, "", "echo", "k"));
    runs_set_limits(runs, &plenty);
    run = create_with_key("", "k");
    ck_assert_ptr_eq(runs_find_key(runs, "", "echo", "k"), run);
    run_unref(old);
    ck_assert_ptr_eq(runs_find_key(runs, "", "echo", "k"), run);
}

CASE(many_keys)
{
    enum { COUNT = 500 };
    struct run *made[COUNT];
    char key[16];

    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "key %d", i * 7919 % COUNT);
        made[i] = create_with_key("", key);
    }
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "key %d", i * 7919 % COUNT);
        ck_assert_ptr_eq(runs_find_key(runs, "", "echo", key), made[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        run_cancel(made[i]);
        run_unref(made[i]);
    }
}

CASES("clients", .setup = setup_runs, .teardown = teardown);

CASE(live_runs_of_a_client)
{
    struct run *first, *second, *nobodys;

    request.client = "10.0.0.1";
    first = create_run();
    second = create_run();
    request.client = "10.0.0.2";
    run = create_run();
    request.client = NULL;
    nobodys = create_run();
    ck_assert_uint_eq(runs_live_of(runs, "10.0.0.1"), 2);
    ck_assert_uint_eq(runs_live_of(runs, "10.0.0.2"), 1);
    ck_assert_uint_eq(runs_live_of(runs, "10.0.0.3"), 0);
    ck_assert_uint_eq(runs_live(runs), 4);
    run_cancel(first);
    run_cancel(first);
    ck_assert_uint_eq(runs_live_of(runs, "10.0.0.1"), 1);
    run_abort(second, RUN_ERROR_unavailable, NULL);
    ck_assert_uint_eq(runs_live_of(runs, "10.0.0.1"), 0);
    run_cancel(nobodys);
    run_unref(first);
    run_unref(second);
    run_unref(nobodys);
    ck_assert_uint_eq(runs_live_of(runs, "10.0.0.1"), 0);
    ck_assert_uint_eq(runs_live_of(runs, "10.0.0.2"), 1);
}

/* An ended run no longer counts for its client, even if its agent still runs. */
CASE(ended_run_does_not_count)
{
    request.client = "alice";
    start_run();
    ck_assert_uint_eq(runs_live_of(runs, "alice"), 1);
    run_abort(run, RUN_ERROR_deadline, NULL);
    ck_assert_uint_eq(runs_live_of(runs, "alice"), 0);
    ck_assert_int_eq(finish(), 0);
    ck_assert_uint_eq(runs_live_of(runs, "alice"), 0);
}
