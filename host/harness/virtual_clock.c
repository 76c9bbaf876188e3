/*
 * The next turn goes to the task that is due first, and among equals to the task
 * that has waited longest. A task is due when it is woken, else at its deadline; a
 * task that has not begun is due at once. To pass the turn:
 *
 *     1. let the owner settle what happened until now;
 *     2. while an alarm comes before the next task is due, set the clock to it
 *        and let it ring, which may make other tasks due;
 *     3. if no task is ever due, the owner gives up once, which wakes them all;
 *     4. set the clock to when the next task is due, and give it the turn.
 *
 * The turn is a baton: a field that the threads wait for, each on a condition of
 * its own, with the scheduler's lock. A thread is made when its task gets its
 * first turn. After its end, the next task that gets a turn joins it: its
 * thread-local destructors may call the agent's code, and nobody else executes
 * until they have run.
 */
#include "harness/virtual_clock.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A thread that takes turns. */
struct player {
    struct virtual_clock *clock;
    struct agent_task *subtask; /* NULL for the first */
    enum { PLAYER_QUEUED, PLAYER_BEGUN, PLAYER_ENDED } state;
    struct waiter *waiter; /* while it waits */
    uint64_t deadline;
    uint64_t order; /* among those that are due at the same time */
    pthread_t thread;
    pthread_cond_t turn;
    TAILQ_ENTRY(player) in_clock; /* in clock->players */
};

struct virtual_clock {
    struct sched *sched;
    uint64_t now;
    uint64_t order;
    uint64_t turns;
    TAILQ_HEAD(, player) players;
    TAILQ_HEAD(, clock_alarm) alarms; /* by time */
    struct player first;
    struct player *turn;
    pthread_cond_t woken; /* for threads without a turn */
    bool fibers;
    const struct clock_owner *owner;
    void *data; /* NULL when the run has ended */
};

static _Thread_local struct player *self; /* NULL on a thread that takes no turns */
static _Thread_local bool is_loop;

void virtual_clock_set_loop(bool loop)
{
    is_loop = loop;
}

/* ---- time ---- */

void virtual_clock_set_alarm(struct virtual_clock *clock, struct clock_alarm *alarm)
{
    struct clock_alarm *later;

    sched_assert_locked(clock->sched);
    TAILQ_FOREACH(later, &clock->alarms, in_alarms) {
        if (later->at > alarm->at)
            break;
    }
    alarm->set = true;
    if (later)
        TAILQ_INSERT_BEFORE(later, alarm, in_alarms);
    else
        TAILQ_INSERT_TAIL(&clock->alarms, alarm, in_alarms);
}

void virtual_clock_clear_alarm(struct virtual_clock *clock, struct clock_alarm *alarm)
{
    sched_assert_locked(clock->sched);
    if (!alarm->set)
        return;
    alarm->set = false;
    TAILQ_REMOVE(&clock->alarms, alarm, in_alarms);
}

static void clock_set(struct virtual_clock *clock, uint64_t to)
{
    if (to > clock->now)
        clock->now = to;
}

/* Let the next alarm ring, if it comes by this time; return whether it did. */
static bool clock_ring(struct virtual_clock *clock, uint64_t by)
{
    struct clock_alarm *alarm = TAILQ_FIRST(&clock->alarms);

    if (alarm == NULL || alarm->at > by)
        return false;
    virtual_clock_clear_alarm(clock, alarm);
    clock_set(clock, alarm->at);
    alarm->ring(alarm);
    return true;
}

/* ---- turns ---- */

static uint64_t player_due(const struct player *player)
{
    const struct virtual_clock *clock = player->clock;
    bool ready = player->state == PLAYER_QUEUED || player->waiter->woken;

    return ready || player->deadline < clock->now ? clock->now : player->deadline;
}

/* Return whose turn is next. */
static struct player *clock_next(const struct virtual_clock *clock)
{
    struct player *player, *next = NULL;

    TAILQ_FOREACH(player, &clock->players, in_clock) {
        if (player->state == PLAYER_ENDED)
            continue;
        if (next == NULL || player_due(player) < player_due(next) ||
            (player_due(player) == player_due(next) && player->order < next->order))
            next = player;
    }
    return next;
}

static void *player_main(void *data);

static void clock_give_turn(struct virtual_clock *clock, struct player *player)
{
    int status;

    clock->turn = player;
    if (player->state == PLAYER_BEGUN) {
        pthread_cond_signal(&player->turn);
        return;
    }
    player->state = PLAYER_BEGUN;
    status = pthread_create(&player->thread, NULL, player_main, player);
    if (status)
        log_fatal("a task has no thread: %s", strerror(status));
}

static void clock_settle(struct virtual_clock *clock)
{
    if (clock->data)
        clock->owner->settle(clock->data);
}

static bool clock_give_up(struct virtual_clock *clock)
{
    return clock->data && clock->owner->give_up(clock->data);
}

static void clock_pass_turn(struct virtual_clock *clock)
{
    struct player *next;

    for (;;) {
        clock_settle(clock);
        next = clock_next(clock);
        if (clock_ring(clock, player_due(next)))
            continue;
        if (player_due(next) != NEVER)
            break;
        if (!clock_give_up(clock))
            log_fatal("the agent's tasks wait for each other");
    }
    clock_set(clock, player_due(next));
    clock_give_turn(clock, next);
}

/* Join the threads of tasks that have ended. Gives the lock back meanwhile. */
static void clock_join_ended(struct virtual_clock *clock)
{
    struct player *player, *next;

    for (player = TAILQ_FIRST(&clock->players); player; player = next) {
        next = TAILQ_NEXT(player, in_clock);
        if (player->state != PLAYER_ENDED)
            continue;
        TAILQ_REMOVE(&clock->players, player, in_clock);
        sched_unlock(clock->sched);
        pthread_join(player->thread, NULL);
        sched_lock(clock->sched);
        pthread_cond_destroy(&player->turn);
        free(player);
        next = TAILQ_FIRST(&clock->players);
    }
}

static void player_await_turn(struct player *player)
{
    while (player->clock->turn != player)
        pthread_cond_wait(&player->turn, sched_mutex(player->clock->sched));
}

/* A thread without a turn waits: the clock jumps, but not for what only a task can do. */
static void wait_without_turn(struct virtual_clock *clock, struct waiter *waiter, uint64_t deadline)
{
    while (!waiter->woken) {
        clock_settle(clock);
        if (waiter->woken)
            break;
        if (waiter->needs_task) {
            pthread_cond_wait(&clock->woken, sched_mutex(clock->sched));
        } else if (!clock_ring(clock, deadline)) {
            if (deadline != NEVER) {
                clock_set(clock, deadline);
                break;
            }
            if (!clock_give_up(clock))
                pthread_cond_wait(&clock->woken, sched_mutex(clock->sched));
        }
    }
}

/* ---- the scheduler's driver ---- */

static uint64_t clock_now_ns(void *data)
{
    struct virtual_clock *clock = data;

    return clock->now;
}

/* Each turn is a new one, so that no event is held back. */
static uint64_t clock_turn_ms(void *data)
{
    struct virtual_clock *clock = data;

    return ++clock->turns;
}

static bool clock_is_loop(void *data)
{
    (void)data;
    return is_loop;
}

static void clock_wait(void *data, struct waiter *waiter, uint64_t deadline)
{
    struct virtual_clock *clock = data;

    if (self == NULL || self->clock != clock) {
        wait_without_turn(clock, waiter, deadline);
        return;
    }
    self->waiter = waiter;
    self->deadline = deadline;
    self->order = ++clock->order;
    clock_pass_turn(clock);
    player_await_turn(self);
    self->waiter = NULL;
    clock_join_ended(clock);
}

static void clock_wake(void *data, struct waiter *waiter)
{
    struct virtual_clock *clock = data;

    (void)waiter;
    pthread_cond_broadcast(&clock->woken);
}

/* What was appended leaves when time may pass. */
static void clock_poke(void *data)
{
    struct virtual_clock *clock = data;

    sched_set_poked(clock->sched, false);
}

static void clock_destroy(void *data)
{
    struct virtual_clock *clock = data;

    pthread_cond_destroy(&clock->woken);
    pthread_cond_destroy(&clock->first.turn);
    free(clock);
}

static const struct sched_driver clock_driver = {
    .now = clock_now_ns,
    .turn_ms = clock_turn_ms,
    .is_loop = clock_is_loop,
    .wait = clock_wait,
    .wake = clock_wake,
    .poke = clock_poke,
    .poke_later = clock_poke,
    .destroy = clock_destroy,
};

/* ---- subtasks ---- */

static void *player_main(void *data)
{
    struct player *player = data;
    struct virtual_clock *clock = player->clock;

    self = player;
    subtask_execute(player->subtask);
    sched_lock(clock->sched);
    player->state = PLAYER_ENDED;
    clock_pass_turn(clock);
    sched_unlock(clock->sched);
    self = NULL;
    return NULL;
}

static int clock_start(void *data, struct agent_task *subtask)
{
    struct virtual_clock *clock = data;
    struct player *player;

    if (clock->fibers && self == NULL)
        return -ENOTSUP;
    player = mem_alloc(sizeof *player);
    player->clock = clock;
    player->subtask = subtask;
    player->state = PLAYER_QUEUED;
    player->order = ++clock->order;
    pthread_cond_init(&player->turn, NULL);
    TAILQ_INSERT_TAIL(&clock->players, player, in_clock);
    return 0;
}

/* A task that takes turns waits for its turn, so that tasks begin in the order of their spawning.
 */
static bool clock_may_run_here(void *data)
{
    (void)data;
    return self == NULL;
}

static bool clock_withdraw(void *data, struct agent_task *subtask)
{
    struct virtual_clock *clock = data;
    struct player *player;

    TAILQ_FOREACH(player, &clock->players, in_clock) {
        if (player->subtask == subtask && player->state == PLAYER_QUEUED)
            break;
    }
    if (player == NULL)
        return false;
    TAILQ_REMOVE(&clock->players, player, in_clock);
    pthread_cond_destroy(&player->turn);
    free(player);
    return true;
}

struct subtask_executor virtual_clock_executor(struct virtual_clock *clock)
{
    return (struct subtask_executor){.start = clock_start,
                                     .may_run_here = clock_may_run_here,
                                     .withdraw = clock_withdraw,
                                     .data = clock};
}

/* ---- life ---- */

struct virtual_clock *virtual_clock_create(const struct clock_owner *owner, void *data, bool fibers)
{
    struct virtual_clock *clock = mem_alloc(sizeof *clock);

    clock->sched = sched_create(&clock_driver, clock);
    TAILQ_INIT(&clock->players);
    TAILQ_INIT(&clock->alarms);
    pthread_cond_init(&clock->woken, NULL);
    clock->first = (struct player){.clock = clock, .state = PLAYER_BEGUN};
    pthread_cond_init(&clock->first.turn, NULL);
    clock->fibers = fibers;
    clock->owner = owner;
    clock->data = data;
    return clock;
}

struct sched *virtual_clock_sched(struct virtual_clock *clock)
{
    return clock->sched;
}

void *virtual_clock_data(struct sched *sched)
{
    struct virtual_clock *clock = sched_data(sched);

    sched_assert_locked(sched);
    return clock->data;
}

void virtual_clock_begin(struct virtual_clock *clock)
{
    sched_lock(clock->sched);
    TAILQ_INSERT_HEAD(&clock->players, &clock->first, in_clock);
    clock->turn = self = &clock->first;
    while (clock_ring(clock, 0))
        ;
    sched_unlock(clock->sched);
}

void virtual_clock_end(struct virtual_clock *clock)
{
    struct sched *sched = clock->sched;

    clock->data = NULL;
    clock_join_ended(clock);
    TAILQ_REMOVE(&clock->players, &clock->first, in_clock);
    self = NULL;
    while (!TAILQ_EMPTY(&clock->alarms))
        virtual_clock_clear_alarm(clock, TAILQ_FIRST(&clock->alarms));
    sched_unref(sched);
    sched_unlock(sched);
}
