/*
 * guess - asks a person: the run waits until someone answers.
 *
 *     cc -shared -fPIC guess.c -o guess.so $(pkg-config --cflags --libs sluice)
 *     echo 7 | sluice run --text guess.so
 *
 * Over HTTP the answer is the body of POST /runs/{id}/input.
 */
#include <sluice/agent.h>

#include <stdlib.h>

static int handle(void *self, const char *input)
{
    const char *json;
    long guess = 0;
    int status = emit_text("A number from 1 to 9?");

    (void)self, (void)input;
    while (status == 0 && guess != 7) {
        status = agent_run_input(60000, &json); /* ms; the status of the run is "waiting" */
        if (status == -ETIMEDOUT)
            return agent_run_fail("no_answer", "nobody answered within a minute");
        if (status < 0)
            return status;
        guess = strtol(json, NULL, 10);
        status = emit_text(guess < 7 ? " Higher." : guess > 7 ? " Lower." : " Right.");
    }
    return status;
}

AGENT_PLUGIN(.name = "guess", .version = "1.0", .handle = handle)
