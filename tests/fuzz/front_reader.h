/*
 * Readers: what a stream or a document of a run must be, by a fold of the true events that
 * knows nothing of blocks, cursors and sends. Any encoder may make it.
 *
 * The front chooses where there are heartbeats, whether text is packed, and when events that
 * nobody waits for are dropped. A reader follows each choice that it may have made, and
 * none that it may not have:
 *
 *   - It chooses when all is sent up to the end of a frame: whether text is packed from there
 *     on, and up to the last event that there is.
 *   - A gap stands where the reader's next event was dropped, and ends where the log begins.
 */
#ifndef TESTS_FUZZ_FRONT_READER_H
#define TESTS_FUZZ_FRONT_READER_H

#include "front_truth.h"
#include "protocol/encoder.h"

struct reader;

/* What a client asks for. */
struct reader_form {
    const struct encoder *encoder;
    const void *terms; /* copied; NULL: none */
    size_t terms_size;
};

/* Make a reader of the run's events after this one, or of the document of all. */
struct reader *reader_create(const struct run *run, const struct reader_form *form, uint64_t after);
void reader_destroy(struct reader *reader);

/* The run knows of the reader now, so that what is dropped for it was. May be called again. */
void reader_begin(struct reader *reader);

/* Check bytes of a send. fresh: all before was sent. */
void reader_offer(struct reader *reader, const char *bytes, size_t length, bool fresh);

/* Return true if nothing may follow what was offered. */
bool reader_is_over(const struct reader *reader);

/* Return true if the stream ends with a question, and the run with it. */
bool reader_cancels(const struct reader *reader);

/*
 * Check the answer to a client that waited for the document; status 0: it was sent as a
 * stream. Return true if its run ends with it.
 */
bool reader_check_document(const struct reader *reader, unsigned status,
                           const struct buf *document);

#endif
