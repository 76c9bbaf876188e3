/* The table of runs: keys of idempotency, threads, and the live runs of a client. */
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

static struct run *create_in_thread(const char *subject, const char *thread)
{
    request.subject = subject;
    request.thread = thread;
    return create_run();
}

CASES("threads", .setup = setup_runs, .teardown = teardown);

CASE(newest_of_a_thread)
{
    struct run *older = create_in_thread("alice", "t"), *bobs = create_in_thread("bob", "t");
    struct run *other = create_in_thread("alice", "T\n"), *none = create_in_thread("alice", NULL);

    run = create_in_thread("alice", "t");
    ck_assert_ptr_eq(runs_find_thread(runs, "alice", "echo", "t"), run);
    ck_assert_ptr_eq(runs_find_thread(runs, "bob", "echo", "t"), bobs);
    ck_assert_ptr_eq(runs_find_thread(runs, "alice", "echo", "T\n"), other);
    ck_assert_ptr_null(runs_find_thread(runs, "alice", "other", "t"));
    ck_assert_ptr_null(runs_find_thread(runs, "alice", "echo", ""));
    run_cancel(older);
    ck_assert_ptr_eq(runs_find_thread(runs, "alice", "echo", "t"), run);
    run_cancel(run);
    ck_assert_ptr_null(runs_find_thread(runs, "alice", "echo", "t"));
    run_cancel(bobs);
    run_cancel(other);
    run_cancel(none);
    run_unref(older);
    run_unref(bobs);
    run_unref(other);
    run_unref(none);
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

CASES("lists", .setup = setup_runs, .teardown = teardown);

/* The runs of a client that ask as the query does, as letters from a on in the order of names. */
static void expect_listed(const struct runs_query *query, struct run *const *names, unsigned most,
                          const char *letters, size_t total)
{
    struct run *found[4];
    char got[5] = "";
    size_t counted;
    unsigned count = runs_list(runs, query, found, most, &counted);

    for (unsigned i = 0; i < count; i++) {
        for (char at = 0; at < 3; at++) {
            if (found[i] == names[(int)at])
                got[i] = (char)('a' + at);
        }
    }
    ck_assert_str_eq(got, letters);
    ck_assert_uint_eq(counted, total);
}

CASE(lists)
{
    struct runs_query query = {.client = "10.0.0.1",
                               .subject = "",
                               .agent = "echo",
                               .states = ~0u,
                               .before = UINT64_MAX,
                               .age_ms = UINT64_MAX};
    struct run *names[3];

    request.client = "10.0.0.1";
    names[0] = create_run();
    request.thread = "t";
    names[1] = create_run();
    run = names[2] = create_run();
    expect_listed(&query, names, 4, "cba", 3);
    run_cancel(names[0]);
    expect_listed(&query, names, 4, "acb", 3);
    expect_listed(&query, names, 2, "ac", 3);
    query.before = run_changed(names[2]);
    expect_listed(&query, names, 2, "b", 3);
    query.before = UINT64_MAX;
    query.states = 1u << RUN_cancelled;
    expect_listed(&query, names, 4, "a", 1);
    query.states = ~query.states;
    expect_listed(&query, names, 4, "cb", 2);
    query.states = ~0u;
    query.thread = "t";
    expect_listed(&query, names, 4, "cb", 2);
    query.thread = run_id(names[0]); /* without a thread, it is its own */
    expect_listed(&query, names, 4, "a", 1);
    run_cancel(names[1]);
    run_unref(names[0]);
    run_unref(names[1]);
}

CASE(lists_what_is_ones_own)
{
    struct runs_query query = {.client = "10.0.0.1",
                               .subject = "",
                               .agent = "echo",
                               .states = ~0u,
                               .before = UINT64_MAX,
                               .age_ms = UINT64_MAX};

    request.client = "10.0.0.1";
    run = create_run();
    expect_listed(&query, (struct run *[]){run, NULL, NULL}, 4, "a", 1);
    query.agent = "other";
    expect_listed(&query, (struct run *[]){run, NULL, NULL}, 4, "", 0);
    query.agent = "echo";
    query.subject = "10.0.0.1";
    expect_listed(&query, (struct run *[]){run, NULL, NULL}, 4, "", 0);
    query.subject = "";
    query.client = "10.0.0.2";
    expect_listed(&query, (struct run *[]){run, NULL, NULL}, 4, "", 0);
}

CASE(lists_by_age)
{
    struct runs_query query = {.client = "10.0.0.1",
                               .subject = "",
                               .agent = "echo",
                               .states = ~0u,
                               .before = UINT64_MAX,
                               .age_ms = 0};
    struct run *names[3];

    request.client = "10.0.0.1";
    names[0] = create_ended();
    run = names[1] = names[2] = create_run();
    pass(5);
    expect_listed(&query, names, 4, "c", 1);
    query.age_ms = HOUR_MS;
    expect_listed(&query, names, 4, "ca", 2);
    run_unref(names[0]);
}
