/*
 * The database has a table of documents, one of their passages, and an FTS5
 * table without content of its own, whose rows are those of the passages.
 *
 * A search takes two steps. FTS5 finds the INDEX_CANDIDATES best by bm25, with
 * title and heading weighted. These are ranked again by how much of the
 * question they cover, so that one with all the words goes before one that has
 * a single word often; records such as changelogs go back.
 */
#include "index.h"

#include "document.h"
#include "passage.h"
#include "text.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

/*
 * A word that more passages have than COMMON_MIN and a share of 1 / COMMON_SHARE
 * is not searched for, if there are others: it costs much and tells little.
 */
#define COMMON_MIN   10000
#define COMMON_SHARE 4
#define FILE_SHARE   2 /* passages of one file among the results, while others fit */

static const char schema[] =
    "PRAGMA journal_mode = off; PRAGMA synchronous = off; PRAGMA page_size = 8192;"
    "CREATE TABLE document (id INTEGER PRIMARY KEY, hash INTEGER UNIQUE, file TEXT, title TEXT,"
    "                       worth REAL);"
    "CREATE TABLE passage (id INTEGER PRIMARY KEY, document INTEGER, line INTEGER, heading TEXT,"
    "                      text TEXT);"
    "CREATE VIRTUAL TABLE search USING fts5 (title, heading, text, content = '',"
    "                                        tokenize = 'porter unicode61');"
    "INSERT INTO search (search, rank) VALUES ('hashsize', 33554432);"
    "BEGIN";

static const char insert_document[] =
    "INSERT OR IGNORE INTO document (hash, file, title, worth) VALUES (?1, ?2, ?3, ?4)";

static const char insert_passage[] =
    "INSERT INTO passage (document, line, heading, text) VALUES (?1, ?2, ?3, ?4)";

static const char insert_search[] =
    "INSERT INTO search (rowid, title, heading, text) VALUES (?1, ?2, ?3, ?4)";

static const char select_candidates[] =
    "SELECT d.file, d.title, p.heading, p.text, p.line, d.worth, c.score"
    " FROM (SELECT rowid AS id, -bm25(search, 3.0, 2.0, 1.0) AS score FROM search"
    "       WHERE search MATCH ?1 ORDER BY score DESC LIMIT ?2) c"
    " JOIN passage p ON p.id = c.id JOIN document d ON d.id = p.document"
    " ORDER BY c.score DESC";

static const char select_count[] =
    "SELECT count(*) FROM (SELECT 1 FROM search WHERE search MATCH ?1 LIMIT ?2)";

struct connection {
    sqlite3 *db;
    sqlite3_stmt *candidates;
    sqlite3_stmt *count;
    struct connection *next; /* in index.idle */
};

struct index {
    sqlite3 *db; /* keeps the database; used while the index is built */
    struct index_counts counts;
    struct connection connections[INDEX_CONNECTIONS];
    size_t count;
    pthread_mutex_t mutex; /* of idle */
    pthread_cond_t returned;
    struct connection *idle;
};

/* ---- building ----------------------------------------------------------- */

struct builder {
    struct index *index;
    sqlite3_stmt *document;
    sqlite3_stmt *passage;
    sqlite3_stmt *search;
    sqlite3_int64 id;  /* of the document that is indexed */
    const char *title; /* its title */
    char *error;
    size_t error_size;
};

static int database_error(int status)
{
    return status == SQLITE_OK || status == SQLITE_DONE || status == SQLITE_ROW ? 0
           : status == SQLITE_NOMEM                                             ? -ENOMEM
                                                                                : -EIO;
}

static void bind_text(sqlite3_stmt *statement, int at, const char *text)
{
    sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC);
}

static int run_statement(sqlite3_stmt *statement)
{
    sqlite3_step(statement);
    return database_error(sqlite3_reset(statement));
}

static int builder_passage(void *argument, const char *heading, const char *text, unsigned line)
{
    struct builder *builder = argument;
    int status;

    sqlite3_bind_int64(builder->passage, 1, builder->id);
    sqlite3_bind_int64(builder->passage, 2, line);
    bind_text(builder->passage, 3, heading);
    bind_text(builder->passage, 4, text);
    status = run_statement(builder->passage);
    if (status < 0)
        return status;
    sqlite3_bind_int64(builder->search, 1, sqlite3_last_insert_rowid(builder->index->db));
    bind_text(builder->search, 2, builder->title);
    bind_text(builder->search, 3, heading);
    bind_text(builder->search, 4, text);
    builder->index->counts.passages++;
    return run_statement(builder->search);
}

static int builder_document(struct builder *builder, const char *path, struct document *document)
{
    int status;

    sqlite3_bind_int64(builder->document, 1, (sqlite3_int64)document->hash);
    bind_text(builder->document, 2, path);
    bind_text(builder->document, 3, document->title);
    sqlite3_bind_double(builder->document, 4, document->worth);
    status = run_statement(builder->document);
    if (status < 0)
        return status;
    if (sqlite3_changes(builder->index->db) == 0) {
        builder->index->counts.duplicates++;
        return 0;
    }
    builder->index->counts.files++;
    builder->id = sqlite3_last_insert_rowid(builder->index->db);
    builder->title = document->title;
    return passage_split(document->text, builder_passage, builder);
}

static int builder_file(struct builder *builder, const char *path, enum document_kind kind)
{
    struct index_counts *counts = &builder->index->counts;
    struct document document;
    int status = document_read(path, kind, &document);

    switch (status) {
    case 0:
        status = builder_document(builder, path, &document);
        document_finish(&document);
        return status;
    case -ENOMEM:
        return status;
    case -EFBIG:
        counts->large++;
        break;
    case -EILSEQ:
        counts->binary++;
        break;
    case -ENODATA:
        counts->empty++;
        break;
    default:
        counts->unreadable++;
    }
    return 0;
}

static int builder_folder(struct builder *builder, const char *path, int depth);

/* Links come in a second round, so that a file is known by its own name. */
static int builder_entry(struct builder *builder, const char *path, const char *name, int depth,
                         bool links)
{
    enum document_kind kind = document_kind(name);
    struct stat info;

    if (lstat(path, &info) < 0 || S_ISLNK(info.st_mode) != links)
        return 0;
    if (links && (stat(path, &info) < 0 || S_ISDIR(info.st_mode)))
        return 0;
    if (S_ISDIR(info.st_mode))
        return builder_folder(builder, path, depth + 1);
    if (!S_ISREG(info.st_mode))
        return 0;
    if (kind != DOCUMENT_NONE)
        return builder_file(builder, path, kind);
    builder->index->counts.other++;
    return 0;
}

static char *path_join(const char *folder, const char *name)
{
    struct text path = {0};

    text_add(&path, folder);
    if (path.length > 0 && path.data[path.length - 1] != '/')
        text_add_char(&path, '/');
    text_add(&path, name);
    return text_take(&path);
}

static int builder_entries(struct builder *builder, const char *path, struct dirent **entries,
                           int count, int depth)
{
    int status = 0;
    char *child;

    for (int i = 0; i < 2 * count && status == 0; i++) {
        const char *name = entries[i % count]->d_name;
        if (*name == '.')
            continue;
        child = path_join(path, name);
        if (child == NULL)
            return -ENOMEM;
        status = builder_entry(builder, child, name, depth, i >= count);
        free(child);
    }
    return status;
}

static int builder_folder(struct builder *builder, const char *path, int depth)
{
    struct dirent **entries = NULL;
    int count = depth > INDEX_DEPTH_MAX ? -1 : scandir(path, &entries, NULL, alphasort);
    int status;

    if (count < 0) {
        builder->index->counts.unreadable++;
        return 0;
    }
    status = builder_entries(builder, path, entries, count, depth);
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
    return status;
}

static int builder_fail(struct builder *builder, const char *path, int status)
{
    snprintf(builder->error, builder->error_size, "%s: %s", path,
             status == -EIO       ? "the database failed"
             : status == -ENODATA ? "nothing to index"
                                  : strerror(-status));
    return status;
}

/* A path that the caller named: not to find it is an error. */
static int builder_path(struct builder *builder, const char *path)
{
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    enum document_kind kind = document_kind(name);
    struct stat info;
    int status;

    if (stat(path, &info) < 0 || access(path, R_OK) < 0)
        status = -errno;
    else if (S_ISDIR(info.st_mode))
        status = builder_folder(builder, path, 0);
    else if (S_ISREG(info.st_mode))
        status = builder_file(builder, path, kind == DOCUMENT_NONE ? DOCUMENT_PLAIN : kind);
    else
        status = -EINVAL;
    return status < 0 ? builder_fail(builder, path, status) : 0;
}

static int builder_paths(struct builder *builder, const char *paths)
{
    char *copy = strdup(paths);
    char *rest = copy;
    const char *path;
    int status = copy ? 0 : -ENOMEM;

    while (status == 0 && (path = strsep(&rest, ":")) != NULL)
        if (*path)
            status = builder_path(builder, path);
    free(copy);
    return status;
}

static int prepare(sqlite3 *db, const char *sql, sqlite3_stmt **out)
{
    return database_error(sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL));
}

static int builder_prepare(struct builder *builder)
{
    sqlite3 *db = builder->index->db;
    int status = database_error(sqlite3_exec(db, schema, NULL, NULL, NULL));

    if (status == 0)
        status = prepare(db, insert_document, &builder->document);
    if (status == 0)
        status = prepare(db, insert_passage, &builder->passage);
    if (status == 0)
        status = prepare(db, insert_search, &builder->search);
    return status;
}

static void builder_finish(struct builder *builder)
{
    sqlite3_finalize(builder->document);
    sqlite3_finalize(builder->passage);
    sqlite3_finalize(builder->search);
}

static int index_build(struct index *index, const char *paths, char *error, size_t error_size)
{
    struct builder builder = {.index = index, .error = error, .error_size = error_size};
    int status = builder_prepare(&builder);

    if (status < 0)
        builder_fail(&builder, paths, status);
    else if (paths[strspn(paths, ":")] == '\0')
        status = builder_fail(&builder, "no path", -EINVAL);
    else
        status = builder_paths(&builder, paths);
    builder_finish(&builder);
    if (status == 0 && index->counts.passages == 0)
        status = builder_fail(&builder, paths, -ENODATA);
    if (status == 0)
        status = database_error(sqlite3_exec(index->db, "COMMIT", NULL, NULL, NULL));
    return status;
}

/* ---- connections -------------------------------------------------------- */

/* A database in memory that the connections of one index share. */
static int database_open(const struct index *index, sqlite3 **db)
{
    char name[64];

    snprintf(name, sizeof(name), "file:/index-%p?vfs=memdb", (const void *)index);
    return database_error(sqlite3_open_v2(
        name, db,
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL));
}

static void connection_close(struct connection *connection)
{
    sqlite3_finalize(connection->candidates);
    sqlite3_finalize(connection->count);
    sqlite3_close(connection->db);
}

static int connection_open(const struct index *index, struct connection *connection)
{
    int status = database_open(index, &connection->db);

    if (status == 0)
        status = prepare(connection->db, select_candidates, &connection->candidates);
    if (status == 0)
        status = prepare(connection->db, select_count, &connection->count);
    if (status < 0)
        connection_close(connection);
    return status;
}

static int index_connect(struct index *index)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    size_t wanted = processors < 1                   ? 1
                    : processors > INDEX_CONNECTIONS ? INDEX_CONNECTIONS
                                                     : (size_t)processors;

    while (index->count < wanted) {
        struct connection *connection = &index->connections[index->count];
        int status = connection_open(index, connection);
        if (status < 0)
            return status;
        connection->next = index->idle;
        index->idle = connection;
        index->count++;
    }
    return 0;
}

static struct connection *connection_take(struct index *index)
{
    struct connection *connection;

    pthread_mutex_lock(&index->mutex);
    while (index->idle == NULL)
        pthread_cond_wait(&index->returned, &index->mutex);
    connection = index->idle;
    index->idle = connection->next;
    pthread_mutex_unlock(&index->mutex);
    return connection;
}

static void connection_return(struct index *index, struct connection *connection)
{
    pthread_mutex_lock(&index->mutex);
    connection->next = index->idle;
    index->idle = connection;
    pthread_cond_signal(&index->returned);
    pthread_mutex_unlock(&index->mutex);
}

int index_create(const char *paths, struct index **out, char *error, size_t error_size)
{
    struct index *index = calloc(1, sizeof(*index));
    int status;

    if (index == NULL)
        return -ENOMEM;
    pthread_mutex_init(&index->mutex, NULL);
    pthread_cond_init(&index->returned, NULL);
    snprintf(error, error_size, "the database failed");
    status = database_open(index, &index->db);
    if (status == 0)
        status = index_build(index, paths, error, error_size);
    if (status == 0)
        status = index_connect(index);
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
    for (size_t i = 0; i < index->count; i++)
        connection_close(&index->connections[i]);
    sqlite3_close(index->db);
    pthread_cond_destroy(&index->returned);
    pthread_mutex_destroy(&index->mutex);
    free(index);
}

void index_counts(const struct index *index, struct index_counts *counts)
{
    *counts = index->counts;
}

int index_sample(struct index *index, char *text, size_t size)
{
    sqlite3_stmt *statement = NULL;
    int status = prepare(index->db, "SELECT text FROM passage LIMIT 1", &statement);

    if (status == 0 && sqlite3_step(statement) == SQLITE_ROW)
        snprintf(text, size, "%s", (const char *)sqlite3_column_text(statement, 0));
    else
        status = -EIO;
    sqlite3_finalize(statement);
    return status;
}

/* ---- search ------------------------------------------------------------- */

struct candidate {
    struct passage passage;
    bool taken;
};

static void passage_finish(struct passage *passage)
{
    free(passage->file);
    free(passage->title);
    free(passage->heading);
    free(passage->text);
    memset(passage, 0, sizeof(*passage));
}

void findings_finish(struct findings *findings)
{
    for (size_t i = 0; i < findings->count; i++)
        passage_finish(&findings->passages[i]);
    findings->count = 0;
}

static sqlite3_int64 common_limit(const struct index *index)
{
    sqlite3_int64 share = (sqlite3_int64)index->counts.passages / COMMON_SHARE;
    return share > COMMON_MIN ? share : COMMON_MIN;
}

/* The passages that have a word, counted up to the limit. */
static int count_passages(struct connection *connection, const char *word, sqlite3_int64 limit,
                          sqlite3_int64 *found)
{
    char query[WORD_SIZE + 2];

    snprintf(query, sizeof(query), "\"%s\"", word);
    bind_text(connection->count, 1, query);
    sqlite3_bind_int64(connection->count, 2, limit);
    if (sqlite3_step(connection->count) == SQLITE_ROW)
        *found = sqlite3_column_int64(connection->count, 0);
    return database_error(sqlite3_reset(connection->count));
}

/* The fewer passages have a word, the more it tells. Returns those to search for in *set. */
static int weigh_words(const struct index *index, struct connection *connection,
                       struct words *words, uint32_t *set)
{
    double total = (double)index->counts.passages;
    sqlite3_int64 limit = common_limit(index);
    uint32_t rare = 0, known = 0;
    int status = 0;

    for (size_t i = 0; i < words->count && status == 0; i++) {
        sqlite3_int64 found = 0;
        status = count_passages(connection, words->word[i], limit, &found);
        words->weight[i] = log(1.5 + total / ((double)found + 1));
        known |= (uint32_t)(found > 0) << i;
        rare |= (uint32_t)(found > 0 && found < limit) << i;
    }
    *set = rare ? rare : known;
    return status;
}

static char *column_copy(sqlite3_stmt *statement, int at)
{
    const char *text = (const char *)sqlite3_column_text(statement, at);
    return strdup(text ? text : "");
}

static uint32_t passage_words(const struct passage *passage, const struct words *words)
{
    return words_found(words, passage->title, strlen(passage->title)) |
           words_found(words, passage->heading, strlen(passage->heading)) |
           words_found(words, passage->text, strlen(passage->text));
}

/* How much of the question it covers, with its title and without. */
static double cover_factor(const struct passage *passage, const struct words *words)
{
    uint32_t own = words_found(words, passage->text, strlen(passage->text));

    double all = words_weight(words, UINT32_MAX);

    return (0.4 + 0.6 * words_weight(words, passage->words) / all) *
           (0.3 + 0.7 * words_weight(words, own) / all);
}

/* A question that names a manual page, such as "tar", means that page. */
static double name_factor(const struct passage *passage, const struct words *words)
{
    const char *end = strstr(passage->title, " - ");
    size_t length = end ? (size_t)(end - passage->title) : 0;

    for (size_t i = 0; i < words->count; i++)
        if (strlen(words->word[i]) == length &&
            strncasecmp(words->word[i], passage->title, length) == 0)
            return 1.6;
    return 1;
}

/* Sections of manual pages that newcomers look for, or that explain nothing. */
static double section_factor(const char *heading)
{
    static const struct {
        const char *name;
        double factor;
    } sections[] = {
        {"NAME", 1.2},      {"EXAMPLE", 1.2},   {"DESCRIPTION", 1.1}, {"SYNOPSIS", 0.8},
        {"SEE ALSO", 0.5},  {"AUTHOR", 0.5},    {"COPYRIGHT", 0.5},   {"HISTORY", 0.6},
        {"STANDARDS", 0.6}, {"REPORTING", 0.5}, {"BUGS", 0.7},        {"ENVIRONMENT", 0.8},
    };

    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++)
        if (strncasecmp(heading, sections[i].name, strlen(sections[i].name)) == 0)
            return sections[i].factor;
    return 1;
}

static int passage_read(struct passage *passage, sqlite3_stmt *row, const struct words *words)
{
    passage->file = column_copy(row, 0);
    passage->title = column_copy(row, 1);
    passage->heading = column_copy(row, 2);
    passage->text = column_copy(row, 3);
    passage->line = (unsigned)sqlite3_column_int64(row, 4);
    if (!passage->file || !passage->title || !passage->heading || !passage->text) {
        passage_finish(passage);
        return -ENOMEM;
    }
    passage->words = passage_words(passage, words);
    passage->score = sqlite3_column_double(row, 6) * cover_factor(passage, words) *
                     name_factor(passage, words) * section_factor(passage->heading) *
                     sqlite3_column_double(row, 5);
    return 0;
}

static int read_candidates(struct connection *connection, const struct words *words, uint32_t set,
                           struct candidate *candidates, size_t *count)
{
    sqlite3_stmt *rows = connection->candidates;
    char query[WORDS_QUERY];
    int status = 0;

    words_query(words, set, query, sizeof(query));
    bind_text(rows, 1, query);
    sqlite3_bind_int(rows, 2, INDEX_CANDIDATES);
    while (status == 0 && *count < INDEX_CANDIDATES && sqlite3_step(rows) == SQLITE_ROW) {
        status = passage_read(&candidates[*count].passage, rows, words);
        *count += status == 0;
    }
    if (status == 0)
        status = database_error(sqlite3_reset(rows));
    else
        sqlite3_reset(rows);
    sqlite3_clear_bindings(rows);
    return status;
}

/* Do they describe variants of one thing, such as "x - do this" and "beta x - do this"? */
static bool is_variant(const struct passage *a, const struct passage *b)
{
    const char *left = strstr(a->title, " - ");
    const char *right = strstr(b->title, " - ");

    return left && right && strcmp(left, right) == 0 && strcmp(a->file, b->file) != 0;
}

/* Does the passage repeat one that was taken, or come from a file used enough? */
static bool is_redundant(const struct findings *findings, const struct passage *passage,
                         size_t share)
{
    for (size_t i = 0; i < findings->count; i++) {
        const struct passage *taken = &findings->passages[i];
        if (strcmp(taken->text, passage->text) == 0 || is_variant(taken, passage))
            return true;
        if (strcmp(taken->file, passage->file) == 0 && --share == 0)
            return true;
    }
    return false;
}

static struct candidate *best_candidate(struct candidate *candidates, size_t count,
                                        const struct findings *findings, size_t share)
{
    struct candidate *best = NULL;

    for (size_t i = 0; i < count; i++) {
        struct candidate *candidate = &candidates[i];
        if (!candidate->taken && (!best || candidate->passage.score > best->passage.score) &&
            !is_redundant(findings, &candidate->passage, share))
            best = candidate;
    }
    return best;
}

static void take_best(struct candidate *candidates, size_t count, size_t max,
                      struct findings *findings)
{
    while (findings->count < max) {
        struct candidate *best = best_candidate(candidates, count, findings, FILE_SHARE);
        if (best == NULL)
            best = best_candidate(candidates, count, findings, SIZE_MAX);
        if (best == NULL)
            return;
        best->taken = true;
        findings->passages[findings->count++] = best->passage;
    }
}

static int search_candidates(struct index *index, struct words *words, struct candidate *candidates,
                             size_t *count)
{
    struct connection *connection = connection_take(index);
    uint32_t set;
    int status = weigh_words(index, connection, words, &set);

    if (status == 0 && set)
        status = read_candidates(connection, words, set, candidates, count);
    connection_return(index, connection);
    return status;
}

int index_search(struct index *index, const char *question, size_t max, struct findings *findings)
{
    struct candidate *candidates;
    size_t count = 0;
    int status;

    memset(findings, 0, sizeof(*findings));
    words_read(&findings->words, question);
    if (findings->words.count == 0)
        return 0;
    candidates = calloc(INDEX_CANDIDATES, sizeof(*candidates));
    if (candidates == NULL)
        return -ENOMEM;
    status = search_candidates(index, &findings->words, candidates, &count);
    if (status == 0)
        take_best(candidates, count, max < INDEX_RESULTS_MAX ? max : INDEX_RESULTS_MAX, findings);
    for (size_t i = 0; i < count; i++)
        if (!candidates[i].taken)
            passage_finish(&candidates[i].passage);
    free(candidates);
    return status;
}
