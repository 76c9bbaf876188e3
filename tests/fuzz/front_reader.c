/*
 * A reader has guesses: each is a choice that the front may have made, a place in the events,
 * and the encoder's state there. Bytes that a guess does not foresee end it; the last one
 * must not end. Guesses part where the front chooses, and become one again at the next choice.
 */
#include "front_reader.h"

#include "protocol/document.h"
#include "run/pack.h"
#include "run/questions.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GUESSES   8
#define STATE_MAX 512

/* Maximum bytes between the quotes of a packed event. */
#define INSIDE_MAX (PACK_MAX - strlen(EVENT_DELTA_BEFORE EVENT_DELTA_AFTER))

struct guess {
    bool lives;
    bool packing;
    uint64_t limit;    /* the last event that the front has looked at */
    uint32_t closings; /* that it knows of */
    uint64_t number;   /* the last event whose frames are in frame, or were */
    bool over, cancels;
    struct buf frame; /* bytes that come next */
    char state[STATE_MAX];
};

struct reader {
    const struct encoder *encoder;
    struct encoding encoding;
    const struct truth *truth;
    uint64_t after;
    uint64_t dropped; /* events that were, when it began */
    uint64_t seen;    /* events that there were then */
    uint64_t asked;   /* the first question that was open then; 0: none was */
    const struct run *run;
    bool heard; /* something was offered */
    struct buf terms;
    struct guess guesses[GUESSES];
};

static struct event event_at(const struct truth *truth, uint64_t number)
{
    const struct truth_event *event = &truth->events[number - 1];

    return (struct event){.sequence = number,
                          .kind = event_kind_of(event->type, strlen(event->type)),
                          .type = event->type,
                          .type_length = strlen(event->type),
                          .json = event->json,
                          .json_length = event->json_length};
}

/* Join the event with those after it, up to the limit; return the number of the last. */
static uint64_t join(const struct truth *truth, uint64_t number, uint64_t limit, struct buf *json)
{
    struct event event = event_at(truth, number);
    const char *inside;
    size_t length;

    if (!pack_delta(&event, &inside, &length)) {
        buf_append(json, event.json, event.json_length);
        return number;
    }
    buf_puts(json, EVENT_DELTA_BEFORE);
    buf_append(json, inside, length);
    for (; number < limit; number++) {
        event = event_at(truth, number + 1);
        if (!pack_delta(&event, &inside, &length) ||
            buf_length(json) - strlen(EVENT_DELTA_BEFORE) + length > INSIDE_MAX)
            break;
        buf_append(json, inside, length);
    }
    buf_puts(json, EVENT_DELTA_AFTER);
    return number;
}

/* After packed text the state must be that after the events for which it stands. */
static void check_packed(const struct reader *reader, const struct guess *guess, char *state,
                         uint64_t first)
{
    struct buf nothing = {0};

    for (uint64_t n = first; n <= guess->number; n++) {
        struct event event = event_at(reader->truth, n);
        reader->encoder->event(state, &reader->encoding, &event, &nothing);
    }
    LAW(memcmp(state, guess->state, reader->encoder->state_size) == 0,
        "the state after packed text is not that after each of its events");
    buf_finish(&nothing);
}

/* Add the frames of what comes next to the guess; false if there is nothing. */
static bool guess_next(const struct reader *reader, struct guess *guess)
{
    const struct encoder *encoder = reader->encoder;
    uint64_t first = guess->number + 1;
    struct buf json = {0};
    char state[STATE_MAX];
    struct event event;

    if (guess->over || guess->number >= guess->limit)
        return false;
    memcpy(state, guess->state, sizeof state);
    event = event_at(reader->truth, first);
    event.sequence = guess->number =
        join(reader->truth, first, guess->packing ? guess->limit : first, &json);
    event.json = buf_data(&json);
    event.json_length = buf_length(&json);
    event.closed = event.kind == EVENT_input_request &&
                   eventlog_is_closed(reader->truth->log, event.sequence, guess->closings);
    encoder->event(guess->state, &reader->encoding, &event, &guess->frame);
    if (guess->number > first)
        check_packed(reader, guess, state, first);
    if (event.kind == EVENT_done) {
        if (encoder->end)
            encoder->end(guess->state, &reader->encoding, &guess->frame);
        guess->over = true;
    }
    if (event.kind == EVENT_input_request && !event.closed && encoder->question) {
        enum encoder_question what = encoder->question(guess->state, &reader->encoding);
        guess->over = what != QUESTION_GOES_ON;
        guess->cancels = what == QUESTION_CANCELS;
    }
    buf_finish(&json);
    return true;
}

static bool begins_with(const char *bytes, size_t length, const char *with, size_t with_length)
{
    return length >= with_length && memcmp(bytes, with, with_length) == 0;
}

/*
 * If the bytes begin with a gap, go to where the log begins and return the gap's length, else
 * 0. The front may have passed events that have no frames before the rest was dropped.
 */
static size_t guess_gap(const struct reader *reader, struct guess *guess, const char *bytes,
                        size_t length)
{
    const struct encoder *encoder = reader->encoder;
    uint64_t start = reader->truth->log->start.sequence;
    struct guess at = *guess;
    size_t found = 0;

    at.frame = (struct buf){0};
    at.limit = start;
    while (found == 0 && at.number < start && buf_length(&at.frame) == 0) {
        struct run_gap gap = {.from = at.number + 1, .to = start};
        struct guess after = at;
        after.frame = (struct buf){0};
        encoder->gap(after.state, &reader->encoding, &gap, &after.frame);
        found = buf_length(&after.frame);
        if (begins_with(bytes, length, buf_data(&after.frame), found)) {
            memcpy(guess->state, after.state, sizeof guess->state);
            guess->number = start;
        } else {
            found = 0;
        }
        buf_finish(&after.frame);
        if (!guess_next(reader, &at))
            break;
    }
    buf_finish(&at.frame);
    return found;
}

static bool is_same(const struct guess *one, const struct guess *other)
{
    return one->lives && other->lives && one->packing == other->packing &&
           one->limit == other->limit && one->closings == other->closings &&
           one->number == other->number && one->over == other->over &&
           buf_length(&one->frame) == buf_length(&other->frame) &&
           memcmp(one->state, other->state, sizeof one->state) == 0;
}

static void guess_end(struct guess *guess)
{
    guess->lives = false;
    buf_finish(&guess->frame);
}

static void guess_follow(struct reader *reader, struct guess *guess, const char *bytes,
                         size_t length, bool fresh);

/* The front chooses: the guess packs no text, and another one does, which follows the bytes. */
static void guess_part(struct reader *reader, struct guess *guess, const char *bytes, size_t length)
{
    struct guess *other = reader->guesses;

    guess->packing = false;
    guess->limit = reader->truth->count;
    guess->closings = reader->truth->log->closings;
    while (other < reader->guesses + GUESSES && other->lives)
        other++;
    LAW(other < reader->guesses + GUESSES, "a reader has too many guesses");
    *other = *guess;
    other->packing = true;
    other->frame = (struct buf){0};
    buf_append(&other->frame, buf_data(&guess->frame), buf_length(&guess->frame));
    for (struct guess *twin = reader->guesses; twin < reader->guesses + GUESSES; twin++) {
        if (twin != other && is_same(twin, other)) {
            guess_end(other);
            return;
        }
    }
    guess_follow(reader, other, bytes, length, false);
}

static void guess_follow(struct reader *reader, struct guess *guess, const char *bytes,
                         size_t length, bool fresh)
{
    static const char beat[] = ENCODER_HEARTBEAT;
    bool in_events = false;

    while (length > 0) {
        size_t part = buf_length(&guess->frame);

        if (part == 0 && !in_events && begins_with(bytes, length, beat, strlen(beat))) {
            part = strlen(beat);
        } else if (part == 0 && !in_events && (part = guess_gap(reader, guess, bytes, length))) {
            if (fresh)
                guess_part(reader, guess, bytes + part, length - part);
        } else if (part == 0) {
            uint64_t first = guess->number + 1;
            bool dropped = first <= reader->truth->log->start.sequence;
            in_events = true;
            if (guess_next(reader, guess) && !(dropped && buf_length(&guess->frame) > 0))
                continue;
            guess_end(guess);
            return;
        } else {
            part = part < length ? part : length;
            if (memcmp(bytes, buf_data(&guess->frame), part) != 0) {
                guess_end(guess);
                return;
            }
            buf_consume(&guess->frame, part);
        }
        bytes += part;
        length -= part;
    }
}

/* Return true if nothing but events without frames, such as empty texts, is between the two. */
static bool is_same_place(const struct reader *reader, const struct guess *before,
                          const struct guess *after)
{
    struct guess at = *before;
    bool is_same;

    at.frame = (struct buf){0};
    at.limit = after->number;
    while (at.number < after->number && buf_length(&at.frame) == 0 && guess_next(reader, &at))
        ;
    is_same = at.number == after->number && buf_length(&at.frame) == 0 &&
              memcmp(at.state, after->state, STATE_MAX) == 0;
    buf_finish(&at.frame);
    return is_same;
}

void reader_offer(struct reader *reader, const char *bytes, size_t length, bool fresh)
{
    struct guess *chooser = NULL, *guesses[GUESSES];
    unsigned count = 0;
    uint64_t before = 0;

    for (struct guess *guess = reader->guesses; guess < reader->guesses + GUESSES; guess++) {
        if (guess->lives)
            before = guess->number;
        if (guess->lives && fresh && (buf_length(&guess->frame) == 0 || !reader->heard)) {
            LAW(chooser == NULL || is_same_place(reader, chooser, guess) ||
                    is_same_place(reader, guess, chooser),
                "the same bytes are made of other events");
            if (chooser)
                guess_end(guess);
            else
                chooser = guess;
        }
        if (guess->lives)
            guesses[count++] = guess;
    }
    reader->heard = true;
    if (chooser)
        guess_part(reader, chooser, bytes, length);
    while (count > 0)
        guess_follow(reader, guesses[--count], bytes, length, fresh);
    for (struct guess *guess = reader->guesses; guess < reader->guesses + GUESSES; guess++) {
        if (guess->lives)
            return;
    }
    fprintf(stderr, "%s: after event %" PRIu64 " of %zu, %" PRIu64 " dropped: %.*s\n",
            reader->encoder->name, before, reader->truth->count, reader->truth->log->start.sequence,
            (int)(length < 500 ? length : 500), bytes);
    LAW(false, "a client gets what no fold of the events gives");
}

/* Go to the end of the frames that are there, over events that have none; NULL: within a frame. */
static const struct guess *reader_rest(const struct reader *reader, struct guess *at)
{
    const struct guess *guess = reader->guesses;

    while (guess < reader->guesses + GUESSES && !guess->lives)
        guess++;
    LAW(guess < reader->guesses + GUESSES, "a client gets what no fold of the events gives");
    if (buf_length(&guess->frame) > 0)
        return NULL;
    *at = *guess;
    at->frame = (struct buf){0};
    while (buf_length(&at->frame) == 0 && guess_next(reader, at))
        continue;
    if (buf_length(&at->frame) > 0)
        at->over = at->cancels = false;
    buf_finish(&at->frame);
    return at;
}

bool reader_is_over(const struct reader *reader)
{
    struct guess at;

    return reader_rest(reader, &at) && at.over;
}

bool reader_cancels(const struct reader *reader)
{
    struct guess at;

    return reader_rest(reader, &at) && at.over && at.cancels;
}

/* ---- documents ---- */

static bool take_all(void *data, size_t bytes)
{
    (void)data;
    (void)bytes;
    return true;
}

bool reader_check_document(const struct reader *reader, unsigned status, const struct buf *document)
{
    const struct document_encoder *encoder = reader->encoder->document;
    const struct document_room room = {.take = take_all};
    struct document wanted = {.asked = 0};
    struct buf bytes = {0};
    unsigned wanted_status;
    bool is_over = false, asks = false;

    if (reader->dropped > 0)
        document_add_gap(&wanted);
    for (uint64_t n = reader->dropped + 1; n <= reader->truth->count && !is_over; n++) {
        struct event event = event_at(reader->truth, n);
        if (event.kind == EVENT_input_request &&
            (buf_length(&wanted.question) > 0 || (n <= reader->seen && n != reader->asked))) {
            wanted.events = n;
            continue;
        }
        document_add(&wanted, encoder->keeps, &event, &room);
        asks = event.kind == EVENT_input_request && encoder->question != QUESTION_GOES_ON;
        is_over = asks || event.kind == EVENT_done;
    }
    LAW(is_over, "a document comes before the end of its run");
    wanted_status = encoder->end(&wanted, &reader->encoding, &bytes);
    if (!reader->truth->refused) {
        size_t space = buf_length(document) - buf_length(&bytes);

        LAW(status == 0 || status == wanted_status, "a document's status is not that of the run");
        LAW(buf_length(document) >= buf_length(&bytes) &&
                memcmp(buf_data(document) + space, buf_data(&bytes), buf_length(&bytes)) == 0,
            "a document is not that of the run's events");
        LAW(strspn(buf_data(document), "\n") >= space && (status == 0 || space == 0),
            "a document follows more than white space");
    }
    document_finish(&wanted);
    buf_finish(&bytes);
    return asks && encoder->question == QUESTION_CANCELS;
}

/* ---- readers ---- */

struct reader *reader_create(const struct run *run, const struct reader_form *form, uint64_t after)
{
    struct reader *reader = calloc(1, sizeof *reader);

    LAW(form->encoder->state_size <= STATE_MAX, "an encoder's state is too large");
    reader->encoder = form->encoder;
    reader->truth = truth_of(run_log(run));
    reader->after = after;
    reader->run = run;
    reader->encoding.run = run_identity(run);
    reader->encoding.log = run_log(run);
    if (form->terms) {
        buf_append(&reader->terms, form->terms, form->terms_size);
        reader->encoding.terms = buf_data(&reader->terms);
        reader->encoding.terms_size = form->terms_size;
    }
    return reader;
}

void reader_begin(struct reader *reader)
{
    const struct encoder *encoder = reader->encoder;
    const struct question *question = run_question_next(reader->run, NULL);
    struct guess *guess = reader->guesses;
    uint64_t after = reader->after;

    if (guess->lives)
        return;
    reader->seen = reader->truth->count;
    reader->asked = question ? question->sequence : 0;
    reader->dropped = reader->truth->log->start.sequence;
    guess->lives = true;
    guess->number = after > reader->dropped ? after : reader->dropped;
    encoder->begin(guess->state, &reader->encoding, after, &guess->frame);
    for (uint64_t n = reader->dropped + 1; n <= after; n++) {
        struct event event = event_at(reader->truth, n);
        struct buf nothing = {0};
        encoder->event(guess->state, &reader->encoding, &event, &nothing);
        buf_finish(&nothing);
    }
    if (reader->dropped > after) {
        struct run_gap gap = {.from = after + 1, .to = reader->dropped};
        encoder->gap(guess->state, &reader->encoding, &gap, &guess->frame);
    }
}

void reader_destroy(struct reader *reader)
{
    for (struct guess *guess = reader->guesses; guess < reader->guesses + GUESSES; guess++)
        guess_end(guess);
    buf_finish(&reader->terms);
    free(reader);
}
