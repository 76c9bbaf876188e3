#include "worker/threads.h"

#include "base/mem.h"
#include "worker/crash.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/queue.h>

struct work {
    void (*fn)(void *data);
    void *data;
    TAILQ_ENTRY(work) next; /* in threads->queue */
};

struct threads {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    TAILQ_HEAD(work_list, work) queue;
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
    TAILQ_INIT(&threads->queue);
    threads->most = most;
    threads->ids = mem_alloc(most * sizeof *threads->ids);
    return threads;
}

/* With the lock held. */
static void threads_dequeue(struct threads *threads, struct work *work)
{
    TAILQ_REMOVE(&threads->queue, work, next);
    threads->queued--;
}

/* Return the next piece of work; NULL when the pool stops. With the lock held. */
static struct work *threads_next(struct threads *threads)
{
    struct work *work;

    threads->idle++;
    while (TAILQ_EMPTY(&threads->queue) && !threads->stopping)
        pthread_cond_wait(&threads->changed, &threads->lock);
    threads->idle--;
    work = TAILQ_FIRST(&threads->queue);
    if (work)
        threads_dequeue(threads, work);
    return work;
}

static void *thread_main(void *data);

/* The work has called pthread_exit(): another thread takes this one's place. */
static void on_thread_exit(void *data)
{
    struct threads *threads = data;
    unsigned place = 0;

    pthread_mutex_lock(&threads->lock);
    while (!pthread_equal(threads->ids[place], pthread_self()))
        place++;
    if (!threads->stopping) {
        pthread_detach(pthread_self());
        if (pthread_create(&threads->ids[place], NULL, thread_main, threads) != 0)
            threads->ids[place] = threads->ids[--threads->count];
    }
    pthread_mutex_unlock(&threads->lock);
}

/* pthread_cancel() has no effect on it. */
static void *thread_main(void *data)
{
    struct threads *threads = data;
    struct work *work;

    crash_prepare_thread();
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    pthread_cleanup_push(on_thread_exit, threads);
    pthread_mutex_lock(&threads->lock);
    while ((work = threads_next(threads))) {
        struct work here = *work;
        pthread_mutex_unlock(&threads->lock);
        free(work);
        here.fn(here.data);
        pthread_mutex_lock(&threads->lock);
    }
    pthread_mutex_unlock(&threads->lock);
    pthread_cleanup_pop(0);
    return NULL;
}

/* Make one more thread, if the waiting work needs it. With the lock held. */
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
    TAILQ_INSERT_TAIL(&threads->queue, work, next);
    threads->queued++;
    status = threads_grow(threads);
    if (status < 0) {
        threads_dequeue(threads, work);
        free(work);
    }
    pthread_cond_signal(&threads->changed);
    pthread_mutex_unlock(&threads->lock);
    return status;
}

/* Search from the end: what is withdrawn was submitted not long ago. */
bool threads_withdraw(struct threads *threads, void (*fn)(void *data), void *data)
{
    struct work *work;

    pthread_mutex_lock(&threads->lock);
    TAILQ_FOREACH_REVERSE(work, &threads->queue, work_list, next)
    {
        if (work->fn == fn && work->data == data) {
            threads_dequeue(threads, work);
            break;
        }
    }
    pthread_mutex_unlock(&threads->lock);
    free(work);
    return work != NULL;
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
