/* The serving process, whole: made of the other files here, run until it is told to stop. */
#ifndef FRONT_FRONT_H
#define FRONT_FRONT_H

#include "front/config.h"

/* Serves until SIGINT or SIGTERM. The exit status. */
int front_main(const struct config *config);

#endif
