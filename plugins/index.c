/*
 * The database has an FTS5 table of passages, each with the facts about its document,
 * and a table of documents, which keeps out duplicates. FTS5 gets its words from words.c,
 * so that the index and fit() below agree on what a word is.
 *
 * A search takes two steps. FTS5 finds the INDEX_CANDIDATES best passages by bm25, with
 * title and heading weighted. SQLite then sorts them by bm25 times fit(), a function of
 * this file. fit() rates how much of the question a passage covers, so that a passage
 * with all words precedes a passage that repeats one word, and whether the passage is of
 * a page or section that people look for. The search takes the best passages, at most
 * FILE_SHARE of one file; it takes more of a file only if there are not enough others.
 */
#include "index.h"

#include "document.h"
#include "passage.h"
#include "text.h"

#include <errno.h>
#include <fts.h>
#include <math.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#define FILE_SHARE 2

static const char schema[] =
    "PRAGMA journal_mode = off; PRAGMA synchronous = off; PRAGMA page_size = 8192;"
    "CREATE TABLE document (hash INTEGER PRIMARY KEY);"
    "CREATE VIRTUAL TABLE search USING fts5 (title, heading, text, file UNINDEXED, line UNINDEXED,"
    "                                        worth UNINDEXED, tokenize = 'words');"
    "INSERT INTO search (search, rank) VALUES ('hashsize', 33554432);"
    "BEGIN";

static const char insert_document[] = "INSERT OR IGNORE INTO document VALUES (?1)";

static const char insert_passage[] = "INSERT INTO search VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

static const char select_best[] =
    "SELECT file, title, heading, text, line, -score * worth * fit(title, heading, text) AS fitting"
    " FROM (SELECT *, rank AS score FROM search WHERE search MATCH ?1"
    "       AND rank MATCH 'bm25(3.0, 2.0, 1.0)' ORDER BY rank LIMIT ?2)"
    " ORDER BY fitting DESC";

static const char select_count[] = "SELECT count(*) FROM search WHERE search MATCH ?1";

struct index {
    sqlite3 *db; /* keeps the database alive; used while the index is built */
    struct index_counts counts;
    sem_t free;             /* searches that may begin */
    sqlite3_stmt *document; /* this and the next: used while the index is built */
    sqlite3_stmt *passage;
};

static int database_error(int status)
{
    return status == SQLITE_OK ? 0 : status == SQLITE_NOMEM ? -ENOMEM : -EIO;
}

static int prepare(sqlite3 *db, const char *sql, sqlite3_stmt **out)
{
    return database_error(sqlite3_prepare_v2(db, sql, -1, out, NULL));
}

static void bind_text(sqlite3_stmt *statement, int at, const char *text)
{
    sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC);
}

/* ---- building ----------------------------------------------------------- */

static int insert(sqlite3_stmt *statement)
{
    sqlite3_step(statement);
    return database_error(sqlite3_reset(statement));
}

static int add_passage(void *argument, const char *heading, const char *text, unsigned line)
{
    struct index *index = argument;

    bind_text(index->passage, 2, heading);
    bind_text(index->passage, 3, text);
    sqlite3_bind_int64(index->passage, 5, line);
    index->counts.passages++;
    return insert(index->passage);
}

static int add_document(struct index *index, const struct document *document)
{
    int status;

    sqlite3_bind_int64(index->document, 1, (sqlite3_int64)document->hash);
    status = insert(index->document);
    if (status < 0)
        return status;
    if (sqlite3_changes(index->db) == 0) {
        index->counts.duplicates++;
        return 0;
    }
    index->counts.files++;
    bind_text(index->passage, 1, document->title);
    bind_text(index->passage, 4, document->file);
    sqlite3_bind_double(index->passage, 6, document->worth);
    return passage_split(document->text, add_passage, index);
}

static int add_file(struct index *index, const char *path, enum document_kind kind)
{
    struct index_counts *counts = &index->counts;
    struct document document;
    int status = document_read(path, kind, &document);

    if (status == 0) {
        status = add_document(index, &document);
        document_finish(&document);
        return status;
    }
    if (status == -ENOMEM)
        return status;
    ++*(status == -EFBIG     ? &counts->large
        : status == -EILSEQ  ? &counts->binary
        : status == -ENODATA ? &counts->empty
                             : &counts->unreadable);
    return 0;
}

/* Add a file of a tree. A file that the caller named is read under any name. */
static int add_entry(struct index *index, FTS *tree, FTSENT *entry, bool links)
{
    enum document_kind kind = document_kind(entry->fts_name);
    struct stat info;

    if (entry->fts_level == 0 && kind == DOCUMENT_NONE)
        kind = DOCUMENT_PLAIN;
    if (entry->fts_level > 0 && *entry->fts_name == '.')
        fts_set(tree, entry, FTS_SKIP);
    else if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR || entry->fts_info == FTS_NS)
        index->counts.unreadable += !links;
    else if (entry->fts_info == (links ? FTS_SL : FTS_F) && stat(entry->fts_path, &info) == 0 &&
             S_ISREG(info.st_mode)) {
        if (kind != DOCUMENT_NONE)
            return add_file(index, entry->fts_path, kind);
        index->counts.other++;
    }
    return 0;
}

static int compare_entries(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static int add_tree(struct index *index, char *path, bool links)
{
    int options = FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR;
    FTS *tree = fts_open((char *[]){path, NULL}, options, compare_entries);
    FTSENT *entry;
    int status = 0;

    if (tree == NULL)
        return -errno;
    while (status == 0 && (entry = fts_read(tree)) != NULL)
        status = add_entry(index, tree, entry, links);
    fts_close(tree);
    return status;
}

/* Add a path, which must be readable. Links come last, so that a file keeps its own name. */
static int add_path(struct index *index, char *path)
{
    struct stat info;
    int status;

    if (stat(path, &info) < 0 || access(path, R_OK) < 0)
        return -errno;
    if (!S_ISDIR(info.st_mode) && !S_ISREG(info.st_mode))
        return -EINVAL;
    status = add_tree(index, path, false);
    return status < 0 ? status : add_tree(index, path, true);
}

static int fail(char *error, size_t size, const char *path, int status)
{
    snprintf(error, size, "%s: %s", path,
             status == -EIO       ? "the database failed"
             : status == -ENODATA ? "nothing to index"
                                  : strerror(-status));
    return status;
}

static int add_paths(struct index *index, const char *paths, char *error, size_t size)
{
    char *copy = strdup(paths);
    char *rest = copy;
    char *path;
    int status = copy ? 0 : -ENOMEM;

    if (paths[strspn(paths, ":")] == '\0')
        status = fail(error, size, "no path", -EINVAL);
    while (status == 0 && (path = strsep(&rest, ":")) != NULL)
        if (*path && (status = add_path(index, path)) < 0)
            fail(error, size, path, status);
    free(copy);
    if (status == 0 && index->counts.passages == 0)
        status = fail(error, size, paths, -ENODATA);
    return status;
}

/* xTokenize of FTS5 */
static int
tokenize(Fts5Tokenizer *tokenizer, void *argument, int flags, const char *text, int length,
         int (*each)(void *argument, int flags, const char *token, int length, int start, int end))
{
    struct word word = {.at = text, .end = text + length, .question = flags & FTS5_TOKENIZE_QUERY};
    int status = SQLITE_OK;

    (void)tokenizer;
    while (status == SQLITE_OK && word_next(&word))
        status =
            each(argument, word.again ? FTS5_TOKEN_COLOCATED : 0, word.stem, (int)strlen(word.stem),
                 (int)(word.start - text), (int)(word.start - text + (ptrdiff_t)word.length));
    return status;
}

static int tokenizer_create(void *argument, const char **options, int count, Fts5Tokenizer **out)
{
    (void)options;
    (void)count;
    *out = argument;
    return SQLITE_OK;
}

static void tokenizer_delete(Fts5Tokenizer *tokenizer)
{
    (void)tokenizer;
}

/* Make FTS5 of this connection know the tokenizer "words". */
static int database_prepare(sqlite3 *db)
{
    static fts5_tokenizer words = {tokenizer_create, tokenizer_delete, tokenize};
    sqlite3_stmt *statement = NULL;
    fts5_api *api = NULL;
    int status = prepare(db, "SELECT fts5(?1)", &statement);

    if (status == 0) {
        sqlite3_bind_pointer(statement, 1, &api, "fts5_api_ptr", NULL);
        sqlite3_step(statement);
    }
    sqlite3_finalize(statement);
    if (status == 0)
        status =
            api ? database_error(api->xCreateTokenizer(api, "words", &words, &words, NULL)) : -EIO;
    return status;
}

/* Open the database in memory, which all connections of the same name share. */
static int database_open(const struct index *index, sqlite3 **db)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX;
    char name[64];
    int status;

    snprintf(name, sizeof(name), "file:/index-%p?vfs=memdb", (const void *)index);
    status = database_error(sqlite3_open_v2(name, db, flags, NULL));
    return status < 0 ? status : database_prepare(*db);
}

static int index_build(struct index *index, const char *paths, char *error, size_t size)
{
    int status = database_open(index, &index->db);

    snprintf(error, size, "the database failed");
    if (status == 0)
        status = database_error(sqlite3_exec(index->db, schema, NULL, NULL, NULL));
    if (status == 0)
        status = prepare(index->db, insert_document, &index->document);
    if (status == 0)
        status = prepare(index->db, insert_passage, &index->passage);
    if (status == 0)
        status = add_paths(index, paths, error, size);
    sqlite3_finalize(index->document);
    sqlite3_finalize(index->passage);
    if (status == 0)
        status = database_error(sqlite3_exec(index->db, "COMMIT", NULL, NULL, NULL));
    return status;
}

int index_create(const char *paths, struct index **out, char *error, size_t error_size)
{
    struct index *index = calloc(1, sizeof(*index));
    int status;

    if (index == NULL)
        return -ENOMEM;
    sem_init(&index->free, 0, INDEX_SEARCHES);
    status = index_build(index, paths, error, error_size);
    if (status < 0)
        index_destroy(index);
    else
        *out = index;
    return status;
}

void index_destroy(struct index *index)
{
    if (index == NULL)
        return;
    sqlite3_close(index->db);
    sem_destroy(&index->free);
    free(index);
}

const struct index_counts *index_counts(const struct index *index)
{
    return &index->counts;
}

/* ---- ranking ------------------------------------------------------------ */

/* Return true if the question names the manual page, as "tar" does; it then means that page. */
static bool is_named(const struct words *words, const char *title)
{
    for (size_t i = 0; i < words->count; i++) {
        size_t length = strlen(words->word[i]);
        if (strncasecmp(title, words->word[i], length) == 0 &&
            strncmp(title + length, " - ", 3) == 0)
            return true;
    }
    return false;
}

/* Rate sections that newcomers look for higher, and sections that explain little lower. */
static double section_factor(const char *heading)
{
    static const struct {
        const char *start;
        double factor;
    } sections[] = {
        {"NAME", 1.2},     {"EXAMPLE", 1.2}, {"DESCRIPTION", 1.1}, {"SYNOPSIS", 0.8},
        {"SEE ALSO", 0.5}, {"AUTHOR", 0.5},  {"COPYRIGHT", 0.5},   {"HISTORY", 0.6},
    };

    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++)
        if (strncasecmp(heading, sections[i].start, strlen(sections[i].start)) == 0)
            return sections[i].factor;
    return 1;
}

/* fit(title, heading, text) of SQL */
static void fit(sqlite3_context *context, int count, sqlite3_value **values)
{
    const struct words *words = sqlite3_user_data(context);
    const char *columns[3];
    double all = words_weight(words, UINT32_MAX), own;
    uint32_t found = 0;

    for (int i = 0; i < count; i++) {
        columns[i] = (const char *)sqlite3_value_text(values[i]);
        if (columns[i] == NULL) {
            sqlite3_result_error_nomem(context);
            return;
        }
        found |= words_found(words, columns[i]);
    }
    own = words_weight(words, words_found(words, columns[2]));
    sqlite3_result_double(context,
                          (0.4 + 0.6 * words_weight(words, found) / all) * (0.3 + 0.7 * own / all) *
                              (is_named(words, columns[0]) ? 1.6 : 1) * section_factor(columns[1]));
}

/* ---- search ------------------------------------------------------------- */

static void passage_finish(struct passage *passage)
{
    free(passage->file);
    free(passage->title);
    free(passage->heading);
    free(passage->text);
}

void findings_finish(struct findings *findings)
{
    for (size_t i = 0; i < findings->count; i++)
        passage_finish(&findings->passages[i]);
    findings->count = 0;
}

/* Weigh each word: the fewer passages have the word, the more it weighs. */
static int weigh_words(const struct index *index, sqlite3 *db, struct words *words)
{
    sqlite3_stmt *count = NULL;
    int status = prepare(db, select_count, &count);
    char query[WORD_SIZE + 2];

    for (size_t i = 0; i < words->count && status == 0; i++) {
        snprintf(query, sizeof(query), "\"%s\"", words->word[i]);
        bind_text(count, 1, query);
        if (sqlite3_step(count) == SQLITE_ROW)
            words->weight[i] =
                log(1.5 + (double)index->counts.passages / (sqlite3_column_double(count, 0) + 1));
        status = database_error(sqlite3_reset(count));
    }
    sqlite3_finalize(count);
    return status;
}

/* Return true if the findings have this text already, or enough passages of its file. */
static bool is_redundant(const struct findings *findings, sqlite3_stmt *row, size_t share)
{
    const char *file = (const char *)sqlite3_column_text(row, 0);
    const char *text = (const char *)sqlite3_column_text(row, 3);

    for (size_t i = 0; file && text && i < findings->count; i++)
        if (strcmp(findings->passages[i].text, text) == 0 ||
            (strcmp(findings->passages[i].file, file) == 0 && --share == 0))
            return true;
    return false;
}

static char *column_copy(sqlite3_stmt *row, int at)
{
    const char *text = (const char *)sqlite3_column_text(row, at);
    return strdup(text ? text : "");
}

static int take(struct findings *findings, sqlite3_stmt *row)
{
    struct passage *passage = &findings->passages[findings->count];

    passage->file = column_copy(row, 0);
    passage->title = column_copy(row, 1);
    passage->heading = column_copy(row, 2);
    passage->text = column_copy(row, 3);
    passage->line = (unsigned)sqlite3_column_int64(row, 4);
    passage->score = sqlite3_column_double(row, 5);
    if (!passage->file || !passage->title || !passage->heading || !passage->text) {
        passage_finish(passage);
        return -ENOMEM;
    }
    findings->count++;
    return 0;
}

static int take_best(struct findings *findings, sqlite3_stmt *rows, size_t max, size_t share)
{
    int status = 0;

    while (status == 0 && findings->count < max && sqlite3_step(rows) == SQLITE_ROW)
        if (!is_redundant(findings, rows, share))
            status = take(findings, rows);
    if (status < 0)
        sqlite3_reset(rows);
    return status < 0 ? status : database_error(sqlite3_reset(rows));
}

static int search(const struct index *index, sqlite3 *db, size_t max, struct findings *findings)
{
    struct words *words = &findings->words;
    sqlite3_stmt *best = NULL;
    char query[WORDS_QUERY];
    int status = weigh_words(index, db, words);

    if (status == 0)
        status = database_error(
            sqlite3_create_function(db, "fit", 3, SQLITE_UTF8, words, fit, NULL, NULL));
    if (status == 0)
        status = prepare(db, select_best, &best);
    if (status == 0) {
        words_query(words, query, sizeof(query));
        bind_text(best, 1, query);
        sqlite3_bind_int(best, 2, INDEX_CANDIDATES);
        status = take_best(findings, best, max, FILE_SHARE);
    }
    if (status == 0)
        status = take_best(findings, best, max, SIZE_MAX);
    sqlite3_finalize(best);
    return status;
}

int index_search(struct index *index, const char *question, size_t max, struct findings *findings)
{
    sqlite3 *db = NULL;
    int status;

    memset(findings, 0, sizeof(*findings));
    words_read(&findings->words, question);
    if (findings->words.count == 0)
        return 0;
    while (sem_wait(&index->free) < 0)
        ; /* a signal */
    status = database_open(index, &db);
    if (status == 0)
        status = search(index, db, max < INDEX_RESULTS_MAX ? max : INDEX_RESULTS_MAX, findings);
    sqlite3_close(db);
    sem_post(&index->free);
    if (status < 0)
        findings_finish(findings);
    return status;
}
