/*
 * document.h - a file of documentation: which files are one, and what it says.
 */
#ifndef PLUGIN_DOCUMENT_H
#define PLUGIN_DOCUMENT_H

#include <stddef.h>
#include <stdint.h>

#define DOCUMENT_MAX   (2 * 1024 * 1024) /* bytes, after decompression */
#define DOCUMENT_TITLE 160               /* bytes of a manual page's title */

enum document_kind {
    DOCUMENT_NONE,     /* not known to be a document */
    DOCUMENT_PLAIN,    /* .txt, .rst, README, NEWS, ... */
    DOCUMENT_RECORD,   /* changelog, copyright, ...: says much, explains little */
    DOCUMENT_MARKDOWN, /* .md */
    DOCUMENT_HEADER,   /* .h */
    DOCUMENT_MANUAL    /* name.1 to name.9, also name.3pm and the like */
};

struct document {
    uint64_t hash; /* of the source */
    double worth;  /* 1, or less for what newcomers seldom look for */
    char *file;    /* its path, as UTF-8 */
    char *title;   /* of a manual page "ls - list directory contents" */
    char *text;    /* as passage.h describes */
};

/* Says by a file's name what it is; ".gz" at its end does not matter. */
enum document_kind document_kind(const char *name);

/*
 * Reads a file, plain or compressed by gzip. Bytes that are not UTF-8 are taken
 * as Latin-1. Errors: -EFBIG more than DOCUMENT_MAX, -EILSEQ not a text,
 * -ENODATA nothing to read in it, -ENOMEM, and those of open() and read().
 */
int document_read(const char *path, enum document_kind kind, struct document *document);

void document_finish(struct document *document);

#endif
