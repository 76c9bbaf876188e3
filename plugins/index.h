/*
 * index.h - an index of documents in memory, for search by plain questions.
 *
 * index_create() reads all documents once; the index does not change afterwards.
 * Any number of threads may call index_search() at once: each search has its own
 * connection to the database in memory. INDEX_SEARCHES searches run at the same time;
 * more of them wait. No other thread may use the index during index_create() and
 * index_destroy().
 *
 * A search reads at most INDEX_CANDIDATES passages, so its memory is bounded for any
 * question and any documents.
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

/* Numbers of files, except passages. */
struct index_counts {
    uint64_t files;      /* indexed */
    uint64_t passages;   /* the parts into which the indexed files were divided */
    uint64_t other;      /* skipped: the name is not a document's */
    uint64_t large;      /* skipped: more than DOCUMENT_MAX bytes */
    uint64_t binary;     /* skipped: not text */
    uint64_t empty;      /* skipped: nothing to read */
    uint64_t duplicates; /* skipped: the same text is indexed already */
    uint64_t unreadable; /* files and folders skipped because of an error */
};

struct passage {
    char *file;    /* its path, as UTF-8 */
    char *title;   /* of the document, or "" */
    char *heading; /* of the section, or "" */
    char *text;    /* lines in the form of passage.h */
    unsigned line; /* in the source, decompressed; from 1 */
    double score;  /* above 0, higher is better; not comparable between questions */
};

struct findings {
    struct words words; /* of the question, with weights */
    size_t count;
    struct passage passages[INDEX_RESULTS_MAX]; /* best first */
};

/*
 * Index the documents of paths: files and folders, separated by ':'. Hidden entries of
 * folders, and links to folders, are skipped; a file that paths names itself is read
 * under any name. On an error nothing is created, and error says which path and why:
 * -EINVAL: no path; -ENOENT and the like: a path is not readable; -ENODATA: nothing to
 * index; -ENOMEM; -EIO: the database failed.
 */
int index_create(const char *paths, struct index **out, char *error, size_t error_size);

/* Destroy the index; ignore NULL. */
void index_destroy(struct index *index);

/* Return the counts, which live as long as the index. */
const struct index_counts *index_counts(const struct index *index);

/*
 * Find at most max passages that fit the question best. Return 0, also if there are
 * none; -ENOMEM; -EIO. After an error the findings hold nothing to free.
 */
int index_search(struct index *index, const char *question, size_t max, struct findings *findings);

void findings_finish(struct findings *findings);

#endif
