/*
 * guess - asks a person: the run waits until someone answers.
 *
 *     cc -shared -fPIC guess.c -o guess.so $(pkg-config --cflags --libs sluice)
 *     echo 7 | sluice run --text guess.so
 *
 * Over HTTP the event input_request has the question and its id. The answer is the body of
 * POST /runs/{run}/input?question={id}; the host refuses what the schema does not take.
 */
#include <sluice/agent.h>

#include <stdlib.h>

#define QUESTION                               \
    "{\"message\": \"A number from 1 to 9?\"," \
    " \"schema\": {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 9}}"

static int handle(void *self, const char *input)
{
    const char *answer;
    long guess = 0;
    int status = 0;

    (void)self, (void)input;
    while (status == 0 && guess != 7) {
        status = agent_run_ask(QUESTION, 60000, &answer); /* ms; the run's status is "waiting" */
        if (status == -ETIMEDOUT)
            return agent_run_fail("no_answer", "nobody answered within a minute");
        if (status < 0)
            return status;
        guess = strtol(answer, NULL, 10);
        status = emit_text(guess < 7 ? "Higher. " : guess > 7 ? "Lower. " : "Right.");
    }
    return status;
}

AGENT_PLUGIN(.name = "guess", .version = "1.0", .handle = handle)
