/* Runs for the tests of run/: an executor and readers that only take notes. expect_stream() parses
 * what a reader has read as server-sent events and checks the stream as a whole. */
#ifndef TESTS_UNIT_RUN_FIXTURE_H
#define TESTS_UNIT_RUN_FIXTURE_H

#include "run/readers.h"
#include "run/runs.h"

/* The same as in readers.c. */
#define CREDIT_STEP (32 * 1024)

/* Bytes of a log that no limit counts: the first event of the run and its done. */
#define OWN_EVENTS 512

#define HOUR_MS (60 * 60 * 1000)

extern const struct run_agent agent;

extern const struct runs_limits plenty;

extern uv_loop_t loop;
extern struct runs *runs;
extern struct run *run;            /* the run of most tests */
extern struct run_request request; /* how create_run() makes the next run */

struct told {
    bool has_run;
    unsigned cancels;
    unsigned gifts;  /* calls of credit() */
    uint64_t credit; /* what the agent may still spend */
    unsigned inputs;
    char last_input[32];
    uint32_t last_question;
    int input_status; /* what input() returns */
    unsigned ignored;
    uint64_t at_ms; /* time of the last cancel() or ignored() */
    uint32_t number;
};

extern struct told told;

void on_ignored(void *data, uint32_t number);

extern const struct executor executor;

/* Create a run as spec says. */
struct run *create_run(void);

/* Create a run that ends without being started; the table keeps it. */
struct run *create_ended(void);
void start(struct run *started);
int append(const char *type, const char *json);

/* Append an event of exactly this cost, which is at least WIRE_CHARGE + 2. */
int append_cost(size_t cost);
void append_kilobytes(unsigned count);
int end_run(enum wire_status status, const char *code, const char *message, const char *result);
int finish(void);

struct reader {
    struct subscriber subscriber; /* first */
    struct buf text;              /* all bytes read */
    size_t begun;                 /* bytes read of the event at the cursor */
    bool lost;                    /* unread events were dropped */
    struct log_cursor place;      /* if lost: where it goes on */
    bool lazy;                    /* reads only in reader_read() */
    unsigned leave_at;            /* unsubscribes in this call of appended(); 0: never */
    unsigned told;                /* calls of appended() */
};

extern struct reader reader;

/* Return the bytes of the log's events that are not read whole. */
size_t unread(const struct reader *self);

/* Read at most this number of bytes of the native stream. */
void reader_read(struct reader *self, size_t most);
struct run_gap subscribe_after(struct reader *self, uint64_t after);
void subscribe(struct reader *self);

struct stream {
    unsigned events; /* number of the last event */
    unsigned dones;
    unsigned gaps;
    char types[512];     /* each followed by a space */
    char last_data[512]; /* of the last event, cut */
};

/* Parse all that the reader has read, and check that event numbers have no gap after `missed` and
 * that nothing follows `done`. */
struct stream stream_after(struct reader *self, unsigned missed);

/* Return the stream of a new reader that subscribes after this event. */
struct stream replay(uint64_t after);
struct stream stream_of(struct reader *self);
void expect_stream(const char *types, const char *last_data);

/* Run the loop for this time; timers that are due within it fire. */
void pass(uint64_t ms);
void setup_runs(void);
void setup(void);

/* Create a run as spec says, subscribe the reader, start the run. */
void start_run(void);
void setup_running(void);

/* Make the table forget every run that has ended and has no reader. */
void forget_all(void);
void teardown(void);
void set_log_size(size_t log_size);
size_t log_length(void);

#endif
