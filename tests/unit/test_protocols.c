/* The cases of tests/protocols without a server: the events of a case go to a run, and each request
 * is answered by its encoder. tests/protocols/README.md says how cases are written. Each stream is
 * also sent in pieces of every length up to a few, and resumed after each of its events. */
#include "../case.h"
#include "base/log.h"
#include "protocol/encoders.h"
#include "protocol/feed.h"
#include "protocol/native.h"
#include "run/readers.h"
#include "run/runs.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The id of every run in the cases. */
#define RUN "7q3vj5k8m2n4p6r9s1t0w2xyzh"

/* When every run was created. */
#define CREATED 1795750144

#define MOST (64u * 1024)

static const struct run_agent agent = {.name = "e2e_case", .version = "1.0", .generation = 1};

static uv_loop_t loop;
static unsigned streams, answers; /* that were checked */

/* ---- the run of a case ---- */

static void on_cancel(void *data, uint32_t number)
{
    (void)data;
    (void)number;
}

static void on_credit(void *data, uint32_t number, uint32_t bytes)
{
    (void)data;
    (void)number;
    (void)bytes;
}

static const struct executor executor = {.cancel = on_cancel, .credit = on_credit};

/* What is read of a case until its first request. */
struct protocol_case {
    char name[128];
    const struct encoder *encoder;
    struct buf terms; /* of the encoder */
    char thread[128]; /* "": none */
    size_t keep;
    struct runs *runs;
    struct run *run; /* NULL until it has events */
};

static void end_case(struct protocol_case *tested)
{
    if (tested->run)
        run_unref(tested->run);
    if (tested->runs)
        runs_destroy(tested->runs);
    uv_run(&loop, UV_RUN_NOWAIT);
    buf_finish(&tested->terms);
    *tested = (struct protocol_case){.encoder = &encoder_native};
}

static void begin_run(struct protocol_case *tested)
{
    struct runs_limits limits = {.retention_ms = NEVER,
                                 .log_size = tested->keep ? tested->keep : 1024 * 1024,
                                 .log_budget = 256 * 1024 * 1024};
    struct run_request request = {.agent = "e2e_case",
                                  .subject = "",
                                  .thread = *tested->thread ? tested->thread : NULL,
                                  .linger_ms = NEVER,
                                  .deadline_ms = NEVER,
                                  .grace_ms = NEVER};

    tested->runs = runs_create(&loop, &limits);
    ck_assert_int_eq(run_create(tested->runs, &request, &tested->run), 0);
    run_start(tested->run, &agent, &executor, NULL, 0);
    ((struct run_identity *)run_identity(tested->run))->created = CREATED;
}

static void add_event(struct protocol_case *tested, const char *line)
{
    const char *json = strchr(line, ' ') + 1;
    struct event event = {.type = line,
                          .type_length = (size_t)(json - 1 - line),
                          .json = json,
                          .json_length = strlen(json)};

    if (wire_type_is_free(event.type, event.type_length)) /* else the worker refuses it */
        ck_assert_int_eq(run_append(tested->run, &event), 0);
}

/* The line is end HOW and its arguments. */
static void add_end(struct protocol_case *tested, char *line)
{
    char *how = line + strlen("end "), *rest = strchr(how, ' ');
    struct wire_end end = {.status = WIRE_FINISHED, .code = "", .message = "", .result = ""};

    if (rest)
        *rest++ = '\0';
    if (strcmp(how, "cancelled") == 0) {
        run_cancel(tested->run);
        end.status = WIRE_CANCELLED;
    } else if (strcmp(how, "failed") == 0) {
        char *message = strchr(rest, ' ');
        *message++ = '\0';
        end.status = WIRE_FAILED;
        end.code = rest;
        end.message = message;
    } else if (rest) {
        end.result = rest;
    }
    ck_assert_int_eq(run_end(tested->run, &end), 0);
}

/* ---- answers ---- */

/* Put the case's id in the place of the run's. */
static void put_id(const struct protocol_case *tested, struct buf *bytes)
{
    char *at = (char *)buf_data(bytes), *end = at + buf_length(bytes);
    const char *id = run_id(tested->run);

    while (at && (at = memmem(at, (size_t)(end - at), id, RUN_ID_LENGTH)))
        memcpy(at, RUN, RUN_ID_LENGTH);
}

static void expect_bytes(const struct protocol_case *tested, const char *what,
                         const struct buf *got, const struct buf *wanted)
{
    size_t length = buf_length(got) < buf_length(wanted) ? buf_length(got) : buf_length(wanted);
    size_t same = 0;

    while (same < length && buf_data(got)[same] == buf_data(wanted)[same])
        same++;
    ck_assert_msg(same == length && buf_length(got) == buf_length(wanted),
                  "%s, %s: %zu bytes of %zu, from byte %zu on \"%.*s\"", tested->name, what,
                  buf_length(got), buf_length(wanted), same,
                  (int)(buf_length(got) - same < 200 ? buf_length(got) - same : 200),
                  buf_data(got) + same);
}

static struct encoding encoding_of(const struct protocol_case *tested)
{
    return (struct encoding){.run = run_identity(tested->run),
                             .log = run_log(tested->run),
                             .terms =
                                 buf_length(&tested->terms) > 0 ? buf_data(&tested->terms) : NULL,
                             .terms_size = buf_length(&tested->terms)};
}

/* A client that has begun the run reads it while its questions are open. */
static void end_events(struct protocol_case *tested, char *line)
{
    struct eventlog *log = (struct eventlog *)run_log(tested->run);

    add_end(tested, line);
    if (buf_length(&tested->terms) > 0 || *tested->thread)
        log->closings = 0;
}

/* Read the run's stream after this event, in sends of at most this number of bytes. */
static void read_stream(const struct protocol_case *tested, uint64_t after, bool packing,
                        size_t most, struct buf *out)
{
    struct feed_blocks *blocks = feed_blocks_create();
    const struct encoding encoding = encoding_of(tested);
    struct subscriber subscriber = {.appended = NULL};
    struct run_gap gap;
    struct feed feed;
    bool last = false;
    size_t left = 1;

    run_subscribe(tested->run, &subscriber, after, &gap);
    feed_open(&feed, tested->encoder, &encoding, run_log(tested->run), &subscriber.cursor, after,
              &gap);
    while (!last || left > 0) {
        struct iovec pieces[2];
        int count;
        left = most;
        feed_pack(&feed, packing);
        count = feed_view(&feed, blocks, MOST, true, pieces, &last);
        for (int i = 0; i < count; i++) {
            size_t part = pieces[i].iov_len < left ? pieces[i].iov_len : left;
            buf_append(out, pieces[i].iov_base, part);
            left -= part;
            pieces[i].iov_len -= part;
        }
        feed_sent(&feed, blocks, most - left);
        left = (count > 0 ? pieces[0].iov_len : 0) + (count > 1 ? pieces[1].iov_len : 0);
    }
    feed_close(&feed);
    feed_blocks_destroy(blocks);
    run_unsubscribe(&subscriber);
    put_id(tested, out);
}

static void check_stream(const struct protocol_case *tested, const char *what, uint64_t after,
                         bool packing, const struct buf *wanted)
{
    static const size_t pieces[] = {SIZE_MAX, 1, 2, 3, 17, 1000, MOST + 1};
    struct buf got = {0};

    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        if (pieces[i] < 17 && buf_length(wanted) > MOST)
            continue;
        read_stream(tested, after, packing, pieces[i], &got);
        expect_bytes(tested, what, &got, wanted);
        buf_finish(&got);
    }
    streams++;
}

/* Return the number of the event that ends the stream from the start: a question, or the last. */
static uint64_t last_event(const struct protocol_case *tested)
{
    const struct encoding encoding = encoding_of(tested);
    const struct encoder *encoder = tested->encoder;
    const struct eventlog *log = run_log(tested->run);
    struct log_cursor cursor = log->start;
    struct buf scratch = {0};
    struct event event;
    void *state = calloc(1, encoder->state_size + 1);
    bool ends = false;

    while (!ends && cursor.at < log->end.at) {
        eventlog_read(log, &cursor, &scratch, &event);
        ends = event.kind == EVENT_input_request && encoder->question &&
               encoder->question(state, &encoding) != QUESTION_GOES_ON;
    }
    free(state);
    buf_finish(&scratch);
    return cursor.sequence;
}

/* The frames after each event are the rest of those from the start. */
static void check_resumed(const struct protocol_case *tested)
{
    const struct encoding encoding = encoding_of(tested);
    uint64_t last = last_event(tested);
    struct buf whole = {0};

    read_stream(tested, 0, false, SIZE_MAX, &whole);
    for (uint64_t after = run_log(tested->run)->start.sequence; after < last; after++) {
        struct buf begin = {0}, got = {0};
        size_t length;
        void *state = calloc(1, tested->encoder->state_size + 1);
        tested->encoder->begin(state, &encoding, after, &begin);
        free(state);
        read_stream(tested, after, false, SIZE_MAX, &got);
        ck_assert_uint_ge(buf_length(&got), buf_length(&begin));
        buf_consume(&got, buf_length(&begin));
        length = buf_length(&got);
        ck_assert_uint_le(length, buf_length(&whole));
        ck_assert_msg(
            memcmp(buf_data(&got), buf_data(&whole) + buf_length(&whole) - length, length) == 0,
            "%s, resumed after %u", tested->name, (unsigned)after);
        buf_finish(&begin);
        buf_finish(&got);
    }
    buf_finish(&whole);
}

static bool take_all(void *data, size_t bytes)
{
    (void)data;
    (void)bytes;
    return true;
}

static void make_document(const struct protocol_case *tested, struct buf *out)
{
    const struct document_encoder *encoder = tested->encoder->document;
    const struct encoding encoding = encoding_of(tested);
    const struct document_room room = {.take = take_all};
    const struct eventlog *log = run_log(tested->run);
    struct log_cursor cursor = log->start;
    struct document document = {.asked = 0};
    struct buf scratch = {0};
    struct event event;

    if (cursor.sequence > 0)
        document_add_gap(&document);
    while (cursor.at < log->end.at && buf_length(&document.question) == 0) {
        eventlog_read(log, &cursor, &scratch, &event);
        document_add(&document, encoder->keeps, &event, &room);
    }
    encoder->end(&document, &encoding, out);
    document_finish(&document);
    buf_finish(&scratch);
    put_id(tested, out);
}

/* Other requests are for the runner with a server. */
static void check_request(const struct protocol_case *tested, const char *request,
                          const struct buf *wanted)
{
    struct buf got = {0};
    unsigned after = 0;

    if (sscanf(request, "stream after %u", &after) == 1 || strcmp(request, "stream") == 0) {
        check_stream(tested, request, after, tested->encoder->gathers, wanted);
        if (after == 0)
            check_resumed(tested);
        return;
    }
    if (strcmp(request, "packed") == 0) {
        check_stream(tested, request, 0, true, wanted);
        return;
    }
    if (strcmp(request, "heartbeat") == 0)
        buf_puts(&got, ENCODER_HEARTBEAT);
    else if (strcmp(request, "document") == 0)
        make_document(tested, &got);
    else
        return;
    expect_bytes(tested, request, &got, wanted);
    buf_finish(&got);
    answers++;
}

/* ---- files ---- */

/* Expand each <x*N>; the caller frees the line. */
static char *expand(const char *line)
{
    struct buf out = {0};
    unsigned count;
    char letter;
    int length;

    while (*line) {
        if (strncmp(line, "@VERSION@", 9) == 0) {
            buf_puts(&out, PACKAGE_VERSION);
            line += 9;
        } else if (sscanf(line, "<%c*%u>%n", &letter, &count, &length) == 2 &&
                   line[length - 1] == '>') {
            memset(buf_reserve(&out, count), letter, count);
            buf_commit(&out, count);
            line += length;
        } else {
            buf_append(&out, line++, 1);
        }
    }
    return buf_steal(&out);
}

enum block { BLOCK_NONE, BLOCK_CASE, BLOCK_EVENTS, BLOCK_REQUEST, BLOCK_BYTES };

static enum block block_of(const char *line)
{
    static const char *const words[] = {[BLOCK_CASE] = "case",
                                        [BLOCK_EVENTS] = "events",
                                        [BLOCK_REQUEST] = "request",
                                        [BLOCK_BYTES] = "bytes"};

    for (int i = BLOCK_CASE; i <= BLOCK_BYTES; i++) {
        size_t length = strlen(words[i]);
        if (strncmp(line, words[i], length) == 0 && (line[length] == ' ' || line[length] == '\0'))
            return (enum block)i;
    }
    ck_abort_msg("no block begins with: %s", line);
    return BLOCK_NONE;
}

static void check_file(const char *path)
{
    FILE *file = fopen(path, "r");
    struct protocol_case tested = {.encoder = &encoder_native};
    enum block block = BLOCK_NONE;
    char request[256] = "";
    struct buf wanted = {0};
    char *raw = NULL;
    size_t size = 0;
    ssize_t got;

    ck_assert_ptr_nonnull(file);
    do {
        char *line;
        got = getline(&raw, &size, file);
        if (got > 0 && raw[0] == '#')
            continue;
        if (got > 0 && raw[got - 1] == '\n')
            raw[got - 1] = '\0';
        line = expand(got > 0 ? raw : "");
        if (*line == '\0') { /* a block ends, or the file */
            if (block == BLOCK_BYTES)
                check_request(&tested, request, &wanted);
            buf_finish(&wanted);
            block = BLOCK_NONE;
        } else if (block == BLOCK_NONE) {
            block = block_of(line);
            if (block == BLOCK_CASE) {
                end_case(&tested);
                snprintf(tested.name, sizeof tested.name, "%s", line + strlen("case "));
            } else if (block == BLOCK_EVENTS) {
                begin_run(&tested);
            } else if (block == BLOCK_REQUEST) {
                snprintf(request, sizeof request, "%s", line + strlen("request "));
            }
        } else if (block == BLOCK_CASE) {
            if (strncmp(line, "terms ", 6) == 0) {
                buf_puts(&tested.terms, line + 6);
            } else if (strncmp(line, "protocol ", 9) == 0) {
                tested.encoder = encoder_find(line + 9);
                ck_assert_msg(tested.encoder, "there is no encoder %s", line + 9);
            } else if (strncmp(line, "thread ", 7) == 0) {
                snprintf(tested.thread, sizeof tested.thread, "%s", line + 7);
            } else if (strncmp(line, "keep ", 5) == 0)
                tested.keep = strtoul(line + 5, NULL, 10);
        } else if (block == BLOCK_EVENTS) {
            if (strncmp(line, "end ", 4) == 0)
                end_events(&tested, line);
            else
                add_event(&tested, line);
        } else if (block == BLOCK_BYTES) {
            buf_puts(&wanted, line + 1);
            if (*line == '|')
                buf_puts(&wanted, "\n");
        }
        free(line);
    } while (got > 0);
    end_case(&tested);
    free(raw);
    fclose(file);
}

CASE(every_file)
{
    const char *source = getenv("SLUICE_SRCDIR");
    char pattern[4096];
    glob_t found;

    log_open("test", "", LOG_FATAL);
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    snprintf(pattern, sizeof pattern, "%s/tests/protocols/*.case", source ? source : ".");
    ck_assert_int_eq(glob(pattern, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++)
        check_file(found.gl_pathv[i]);
    globfree(&found);
    ck_assert_uint_ge(streams, 30);
    ck_assert_uint_ge(answers, 10);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
}
