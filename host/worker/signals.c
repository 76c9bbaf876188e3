#include "worker/signals.h"

#include <signal.h>
#include <unistd.h>

static pid_t self;

static void on_signal(int number)
{
    if (getpid() == self)
        return;
    signal(number, SIG_DFL);
    raise(number);
}

void signals_outlive(int number)
{
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    self = getpid();
    sigaction(number, &action, NULL);
}
