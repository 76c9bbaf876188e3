#include "worker/threads.h"

#include "common/mem.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/queue.h>

struct work {
    void (*fn)(void *data);
    void *data;
    STAILQ_ENTRY(work) next; /* in threads->queue */
};

struct threads {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    STAILQ_HEAD(, work) queue;
    unsigned queued;
    unsigned idle;
    unsigned most;
    unsigned count;
    pthread_t *ids;
    bool stopping;
};

struct threads *threads_create(unsigned most)
{
    struct threads *threads = mem_alloc(sizeof *threads);

    pthread_mutex_init(&threads->lock, NULL);
    pthread_cond_init(&threads->changed, NULL);
    STAILQ_INIT(&threads->queue);
    threads->most = most;
    threads->ids = mem_alloc(most * sizeof *threads->ids);
    return threads;
}

/* The next piece of work; NULL when the pool stops. With the lock held. */
static struct work *threads_next(struct threads *threads)
{
    struct work *work;

    threads->idle++;
    while (STAILQ_EMPTY(&threads->queue) && !threads->stopping)
        pthread_cond_wait(&threads->changed, &threads->lock);
    threads->idle--;
    work = STAILQ_FIRST(&threads->queue);
    if (work) {
        STAILQ_REMOVE_HEAD(&threads->queue, next);
        threads->queued--;
    }
    return work;
}

static void *thread_main(void *data)
{
    struct threads *threads = data;
    struct work *work;

    pthread_mutex_lock(&threads->lock);
    while ((work = threads_next(threads))) {
        pthread_mutex_unlock(&threads->lock);
        work->fn(work->data);
        free(work);
        pthread_mutex_lock(&threads->lock);
    }
    pthread_mutex_unlock(&threads->lock);
    return NULL;
}

/* One more thread, if the waiting work needs it. With the lock held. */
static int threads_grow(struct threads *threads)
{
    int status;

    if (threads->queued <= threads->idle || threads->count == threads->most)
        return 0;
    status = pthread_create(&threads->ids[threads->count], NULL, thread_main, threads);
    if (status == 0)
        threads->count++;
    return threads->count > 0 ? 0 : -status;
}

int threads_submit(struct threads *threads, void (*fn)(void *data), void *data)
{
    struct work *work = mem_alloc(sizeof *work);
    int status;

    work->fn = fn;
    work->data = data;
    pthread_mutex_lock(&threads->lock);
    STAILQ_INSERT_TAIL(&threads->queue, work, next);
    threads->queued++;
    status = threads_grow(threads);
    if (status < 0) {
        STAILQ_REMOVE(&threads->queue, work, work, next);
        threads->queued--;
        free(work);
    }
    pthread_cond_signal(&threads->changed);
    pthread_mutex_unlock(&threads->lock);
    return status;
}

void threads_destroy(struct threads *threads)
{
    if (threads == NULL)
        return;
    pthread_mutex_lock(&threads->lock);
    threads->stopping = true;
    pthread_cond_broadcast(&threads->changed);
    pthread_mutex_unlock(&threads->lock);
    for (unsigned i = 0; i < threads->count; i++)
        pthread_join(threads->ids[i], NULL);
    pthread_cond_destroy(&threads->changed);
    pthread_mutex_destroy(&threads->lock);
    free(threads->ids);
    free(threads);
}
