/*
 * The guard of this process's memory. While it is closed, other processes of the
 * same user cannot read or change this process's memory, take its descriptors, or
 * attach a debugger; the process leaves no core file; and most of /proc/PID is
 * root's. Privileged processes (CAP_SYS_PTRACE) still can.
 */
#ifndef BASE_GUARD_H
#define BASE_GUARD_H

#include <stdbool.h>

/*
 * A change of the process's user, and execve(2), open or close the guard as the
 * kernel thinks fit: call again after it. With AddressSanitizer the guard stays
 * open: its search for leaks attaches to the process.
 */
void guard_set(bool is_closed);

#endif
