/* Signals that must not end a process which executes a plugin. */
#ifndef WORKER_SIGNALS_H
#define WORKER_SIGNALS_H

/*
 * Outlive the signal from now on. What the plugin forks obeys it, and programs that it starts have
 * the default action back, which an ignored signal would not have.
 */
void signals_outlive(int number);

#endif
