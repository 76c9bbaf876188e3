/*
 * e2e_block: a thread-mode agent that really blocks its thread.
 *
 *     {"word":W,"meet":N}    waits until N runs are in here at once
 *     {"word":W,"nap_ms":M}  sleeps in the kernel
 *
 * Then it emits W as text, a letter at a time, and its result is
 * {"most":K}, the most runs that have been in here at once so far.
 */
#include <sluice/agent_json.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t came = PTHREAD_COND_INITIALIZER;
static unsigned here, most, arrived;

static void enter(unsigned meet)
{
    pthread_mutex_lock(&lock);
    arrived++;
    if (++here > most)
        most = here;
    pthread_cond_broadcast(&came);
    while (arrived < meet)
        pthread_cond_wait(&came, &lock);
    pthread_mutex_unlock(&lock);
}

static unsigned leave(void)
{
    unsigned seen;

    pthread_mutex_lock(&lock);
    here--;
    seen = most;
    pthread_mutex_unlock(&lock);
    return seen;
}

static void nap(long ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    nanosleep(&time, NULL);
}

static int spell(const char *word)
{
    char letter[2] = "";
    int status = 0;

    for (; *word && status == 0; word++) {
        letter[0] = *word;
        status = emit_text(letter);
    }
    return status;
}

static int handle(void *self, const char *input)
{
    cJSON *json = cJSON_Parse(input);
    char result[32];
    int status;

    (void)self;
    enter((unsigned)json_number(json, "meet", 0));
    nap((long)json_number(json, "nap_ms", 0));
    status = spell(json_string(json, "word", "word"));
    snprintf(result, sizeof result, "{\"most\":%u}", leave());
    run_result(result);
    cJSON_Delete(json);
    return status;
}

AGENT_PLUGIN(.name = "e2e_block", .version = "1.0", .handle = handle)
