/* Runs for the tests of run/: an executor and readers that only take notes. expect_stream() parses
 * what a reader has read as server-sent events and checks the stream as a whole. */
#ifndef TESTS_UNIT_RUN_FIXTURE_H
#define TESTS_UNIT_RUN_FIXTURE_H

#include "run/run.h"

/* As run.c has it. */
#define CREDIT_STEP (32 * 1024)

/* What a log may hold beside what is counted: the run's own first event and its done. */
#define OWN_EVENTS 512

#define HOUR_MS (60 * 60 * 1000)

extern const struct run_agent agent;

extern const struct runs_limits plenty;

extern uv_loop_t loop;
extern struct runs *runs;
extern struct run *run;      /* of most tests */
extern struct run_spec spec; /* of the next run */

struct told {
    bool has_run;
    unsigned cancels;
    unsigned gifts;  /* calls of credit() */
    uint64_t credit; /* what the agent may still spend */
    unsigned inputs;
    char last_input[32];
    int input_status; /* what input() answers */
    unsigned ignored;
    uint64_t at_ms; /* of the last call of cancel() or ignored() */
    uint32_t number;
};

extern struct told told;

void on_ignored(void *data, uint32_t number);

extern const struct executor executor;

/* As spec says. */
struct run *create_run(void);

/* One that nobody runs: it has ended and can be found. */
struct run *create_ended(void);
void start(struct run *started);
int append(const char *type, const char *json);

/* Appends an event that costs exactly so much; at least WIRE_CHARGE and 2. */
int append_cost(size_t cost);
void append_kilobytes(unsigned count);
int end_run(enum wire_status status, const char *code, const char *message, const char *result);
int finish(void);

struct reader {
    struct subscriber subscriber; /* first */
    struct buf text;              /* what it has read */
    bool lazy;                    /* it does not read by itself */
    unsigned leave_at;            /* the call of appended() at which it unsubscribes, 0 for none */
    unsigned told;                /* calls of appended() */
};

extern struct reader reader;

size_t unread(const struct reader *self);

/* Reads at most so many bytes. */
void reader_read(struct reader *self, size_t most);
struct run_gap subscribe_after(struct reader *self, uint64_t after);
void subscribe(struct reader *self);

struct stream {
    unsigned events; /* the number of the last */
    unsigned dones;
    char types[512];     /* each followed by a space */
    char last_data[512]; /* of the last event, cut */
};

/* All that the reader has read: events numbered without gaps, nothing behind `done`. */
struct stream stream_after(struct reader *self, unsigned missed);

/* What one who comes now reads from behind this event on. */
struct stream replay(uint64_t after);
struct stream stream_of(struct reader *self);
void expect_stream(const char *types, const char *last_data);

/* So many milliseconds of the loop's time; what is due until then happens before it returns. */
void pass(uint64_t ms);
void setup_runs(void);
void setup(void);

/* As spec says. */
void start_run(void);
void setup_running(void);

/* Forgets all that is ended and not read. */
void forget_all(void);
void teardown(void);
void set_log_size(size_t log_size);
size_t log_length(void);

#endif
