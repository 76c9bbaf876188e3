#include "worker/refused.h"

#include "base/json_fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "worker/job.h"
#include "worker/vars.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Different errnos whose last reason is kept. */
#define STATUSES_MAX 16

/* Bytes that are shown of a type, key or code. */
#define ABOUT_MAX 64

struct refused {
    char *kinds[REFUSED_KINDS];
    unsigned kind_count;
    bool is_full; /* and that was told */
    struct {
        int status;
        char *text;
    } last[STATUSES_MAX];
    unsigned last_count;
};

static pthread_mutex_t outside_lock = PTHREAD_MUTEX_INITIALIZER;
static struct refused *outside; /* of runs */

static atomic_uint_fast64_t total;
static void (*listener)(struct task *task, int status, const char *text, bool is_first);

uint64_t refused_count(void)
{
    return atomic_load(&total);
}

void refused_set_listener(void (*told)(struct task *task, int status, const char *text,
                                       bool is_first))
{
    listener = told;
}

const char *refused_word(int status)
{
    return status == -ENXIO ? "not inside a run"
           : status < 0     ? strerror((int)(0u - (unsigned)status))
                            : "not a negative errno";
}

/* ---- what is kept ---- */

void refused_destroy(struct refused *refused)
{
    if (refused == NULL)
        return;
    for (unsigned i = 0; i < refused->kind_count; i++)
        free(refused->kinds[i]);
    for (unsigned i = 0; i < refused->last_count; i++)
        free(refused->last[i].text);
    free(refused);
}

const char *refused_reason(const struct refused *refused, int status)
{
    for (unsigned i = 0; refused && i < refused->last_count; i++) {
        if (refused->last[i].status == status)
            return refused->last[i].text;
    }
    return NULL;
}

char *refused_outside(int status)
{
    const char *text;
    char *copy;

    pthread_mutex_lock(&outside_lock);
    text = refused_reason(outside, status);
    copy = text ? mem_strdup(text) : NULL;
    pthread_mutex_unlock(&outside_lock);
    return copy;
}

void refused_forget_outside(void)
{
    pthread_mutex_lock(&outside_lock);
    refused_destroy(outside);
    outside = NULL;
    pthread_mutex_unlock(&outside_lock);
}

static void keep_last(struct refused *refused, int status, const char *text)
{
    unsigned at = 0;

    while (at < refused->last_count && refused->last[at].status != status)
        at++;
    if (at == STATUSES_MAX)
        return;
    if (at == refused->last_count)
        refused->last[refused->last_count++].text = NULL;
    refused->last[at].status = status;
    mem_set(&refused->last[at].text, text);
}

enum novelty { KNOWN, NEW, TOO_MANY };

/* Note the refusal; say whether it is the first of its kind. */
static enum novelty note(struct refused **kept, int status, const char *kind, const char *text)
{
    struct refused *refused = *kept;

    if (refused == NULL)
        refused = *kept = mem_alloc(sizeof *refused);
    keep_last(refused, status, text);
    for (unsigned i = 0; i < refused->kind_count; i++) {
        if (strcmp(refused->kinds[i], kind) == 0)
            return KNOWN;
    }
    if (refused->kind_count < REFUSED_KINDS) {
        refused->kinds[refused->kind_count++] = mem_strdup(kind);
        return NEW;
    }
    if (refused->is_full)
        return KNOWN;
    refused->is_full = true;
    return TOO_MANY;
}

static enum novelty note_for(struct task *task, int status, const char *kind, const char *text)
{
    enum novelty novelty;

    if (task) {
        sched_lock(job_sched(task->job));
        novelty = note(job_refused(task->job), status, kind, text);
        sched_unlock(job_sched(task->job));
    } else {
        pthread_mutex_lock(&outside_lock);
        novelty = note(&outside, status, kind, text);
        pthread_mutex_unlock(&outside_lock);
    }
    return novelty;
}

/* ---- telling ---- */

static void log_refused(struct task *task, const char *text)
{
    const char *run = task ? vars_find(job_vars(task->job), "run.id") : NULL;

    if (run)
        log_plugin("%s run=%s", text, run);
    else
        log_plugin("%s", text);
}

int refused_because(struct task *task, int status, const char *call, const char *about,
                    struct buf *reason)
{
    struct buf line = {0};
    char *kind, *text;
    enum novelty novelty;

    buf_printf(&line, "%s(", call);
    if (about) {
        buf_puts(&line, "\"");
        foreign_tell(&line, about, ABOUT_MAX);
        buf_puts(&line, "\"");
    }
    buf_puts(&line, ")");
    kind = mem_printf("%.*s", (int)buf_length(&line), buf_data(&line));
    buf_puts(&line, ": ");
    buf_append(&line, buf_data(reason), buf_length(reason));
    buf_finish(reason);
    text = buf_steal(&line);
    atomic_fetch_add(&total, 1);
    novelty = note_for(task, status, kind, text);
    if (novelty == NEW)
        log_refused(task, text);
    else if (novelty == TOO_MANY)
        log_refused(task, "calls are refused for more reasons; further ones are only counted");
    if (listener)
        listener(task, status, text, novelty == NEW);
    free(kind);
    free(text);
    return status;
}

int refused(struct task *task, int status, const char *call, const char *about, const char *format,
            ...)
{
    struct buf reason = {0};
    va_list args;

    va_start(args, format);
    buf_vprintf(&reason, format, args);
    va_end(args);
    return refused_because(task, status, call, about, &reason);
}
