/* Threads of the pool have the signal mask of the thread that makes them, at the first work. */
#include "base/pool.h"

#include <signal.h>

void pool_queue(uv_loop_t *loop, uv_work_t *work, uv_work_cb run, uv_after_work_cb done)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    uv_queue_work(loop, work, run, done);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}
