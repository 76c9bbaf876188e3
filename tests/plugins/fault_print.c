/*
 * fault_print: prints and logs what the input says, as bytes in hex.
 *
 *     {"print":"68690a","to":"out","repeat":N,"ticks":M,"period_ms":P,"then":"abort"}
 *
 * It does so N times (1 if there is no "repeat"), M times over (1 if there is no "ticks"),
 * with an event tick {} and a pause after each time. "to" is out, error, log for agent_log(),
 * or child for a grandchild in a session of its own that keeps standard error open and sleeps.
 * "then" may be "abort".
 *
 * When it is loaded it prints "loading fault_print".
 */
#include <sluice/agent.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_MAX 65536

static unsigned long number(const char *input, const char *name, unsigned long otherwise)
{
    const char *found = strstr(input, name);

    return found ? strtoul(found + strlen(name), NULL, 10) : otherwise;
}

static int digit(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static size_t read_hex(const char *input, char *out)
{
    const char *hex = strstr(input, "\"print\": \"");
    size_t length;

    hex = hex ? hex + strlen("\"print\": \"") : "";
    length = strspn(hex, "0123456789abcdef") / 2;
    if (length >= TEXT_MAX)
        length = TEXT_MAX - 1;
    for (size_t i = 0; i < length; i++)
        out[i] = (char)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
    out[length] = '\0';
    return length;
}

/* Leave a process behind that holds what this one printed into. */
static void leave_child(void)
{
    if (fork() == 0) {
        setsid();
        sleep(3);
        _exit(0);
    }
}

static void print(const char *input, const char *text, size_t length)
{
    if (strstr(input, "\"to\": \"log\""))
        agent_log(AGENT_LOG_INFO, "%s", text);
    else if (strstr(input, "\"to\": \"out\""))
        fwrite(text, 1, length, stdout);
    else if (write(STDERR_FILENO, text, length) < 0)
        abort();
}

static int handle(void *self, const char *input)
{
    static char text[TEXT_MAX];
    unsigned long repeat = number(input, "\"repeat\": ", 1),
                  ticks = number(input, "\"ticks\": ", 1);
    unsigned long period = number(input, "\"period_ms\": ", 1);
    size_t length = read_hex(input, text);
    int status = 0;

    (void)self;
    if (strstr(input, "\"to\": \"child\""))
        leave_child();
    for (unsigned long i = 0; i < ticks && status == 0; i++) {
        for (unsigned long n = 0; n < repeat; n++)
            print(input, text, length);
        status = emit_event("tick", "{}");
        if (status == 0)
            status = agent_sleep((uint32_t)period);
        length = read_hex(input, text); /* another run may have changed it */
    }
    if (strstr(input, "\"then\": \"abort\""))
        abort();
    return status;
}

__attribute__((constructor)) static void on_load(void)
{
    fputs("loading fault_print\n", stderr);
}

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "fault_print", .version = "1.0", .handle = handle)
