/* fault_restart, mended. */
#define VERSION   "2.0"
#define IS_FAULTY 0
#include "fault_restart.c"
