/*
 * document.h - a file of documentation: its kind and its readable text.
 */
#ifndef PLUGIN_DOCUMENT_H
#define PLUGIN_DOCUMENT_H

#include <stddef.h>
#include <stdint.h>

#define DOCUMENT_MAX   (2 * 1024 * 1024) /* bytes, after decompression */
#define DOCUMENT_TITLE 160               /* bytes of a manual page's title */

enum document_kind {
    DOCUMENT_NONE,     /* not a document */
    DOCUMENT_PLAIN,    /* .txt, .rst, README, NEWS, ... */
    DOCUMENT_RECORD,   /* changelog, copyright, ...: long, but explains little */
    DOCUMENT_MARKDOWN, /* .md */
    DOCUMENT_HEADER,   /* .h */
    DOCUMENT_MANUAL    /* name.1 to name.9, also name.3pm and the like */
};

struct document {
    uint64_t hash; /* of the source */
    double worth;  /* 1, or less for documents that newcomers seldom look for */
    char *file;    /* its path, as UTF-8 */
    char *title;   /* of a manual page "ls - list directory contents" */
    char *text;    /* in the form of passage.h */
};

/* Tell a document's kind from its file name, with or without ".gz". */
enum document_kind document_kind(const char *name);

/*
 * Read a file, plain or compressed by gzip. Bytes that are not UTF-8 count as Latin-1.
 * -EFBIG: more than DOCUMENT_MAX; -EILSEQ: not text; -ENODATA: nothing to read; -ENOMEM;
 * and the errors of open() and read().
 */
int document_read(const char *path, enum document_kind kind, struct document *document);

void document_finish(struct document *document);

#endif
