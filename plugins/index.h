/*
 * index.h - an index of documents in memory, for search by plain questions.
 *
 * index_create() reads all documents once; then the index does not change.
 * index_search() may be called on any number of threads at once: each search
 * has a connection of its own to the database in memory; INDEX_SEARCHES run at
 * a time, further ones wait. index_create() and index_destroy() are called by
 * one thread, while no other uses the index.
 *
 * A search reads INDEX_CANDIDATES passages at most, so its memory is bounded
 * whatever the question and the documents.
 */
#ifndef PLUGIN_INDEX_H
#define PLUGIN_INDEX_H

#include "words.h"

#include <stddef.h>
#include <stdint.h>

#define INDEX_SEARCHES    8
#define INDEX_CANDIDATES  160
#define INDEX_RESULTS_MAX 10

struct index;

/* How many files were ... */
struct index_counts {
    uint64_t files;      /* indexed */
    uint64_t passages;   /* not files: what they were divided into */
    uint64_t other;      /* left out, as their names are not those of documents */
    uint64_t large;      /* left out, as they have more than DOCUMENT_MAX bytes */
    uint64_t binary;     /* left out, as they are not text */
    uint64_t empty;      /* left out, as they say nothing */
    uint64_t duplicates; /* left out, as the same text was indexed before */
    uint64_t unreadable; /* left out, or folders left out, for an error */
};

struct passage {
    char *file;    /* its path, as UTF-8 */
    char *title;   /* of the document, "" if it has none */
    char *heading; /* of the section, "" if it has none */
    char *text;    /* lines as passage.h describes them */
    unsigned line; /* in the source, decompressed; from 1 */
    double score;  /* above 0, higher is better; no meaning across questions */
};

struct findings {
    struct words words; /* of the question, with weights */
    size_t count;
    struct passage passages[INDEX_RESULTS_MAX]; /* the best first */
};

/*
 * paths: files and folders, separated by ':'. In folders, hidden entries and
 * links to folders are left out; a file that is named itself is read whatever
 * its name. On error nothing is created, and error says which path and why:
 * -EINVAL no path, -ENOENT and the like one cannot be read, -ENODATA nothing to
 * index, -ENOMEM, -EIO the database fails.
 */
int index_create(const char *paths, struct index **out, char *error, size_t error_size);

/* NULL is fine. */
void index_destroy(struct index *index);

/* They live as long as the index. */
const struct index_counts *index_counts(const struct index *index);

/*
 * Finds the passages that fit the question best, max of them at most. 0, also
 * if there are none; -ENOMEM; -EIO. After an error there is nothing to finish.
 */
int index_search(struct index *index, const char *question, size_t max, struct findings *findings);

void findings_finish(struct findings *findings);

#endif
