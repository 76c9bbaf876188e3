/*
 * Which machine and C library a shared object (ELF, System V ABI) was built for. Files may be
 * anything: what is read is bounded by their size.
 */
#ifndef BASE_ELF_H
#define BASE_ELF_H

#include <stddef.h>

struct why;

/* Return -ENOEXEC, and in words what the file is and what this host is, if it was built for another
 * machine or system; 0 for this host's, and for what is no ELF file or its beginning. */
int elf_check_machine(const void *head, size_t length, struct why *why);

/* The same for a file, and for one that needs the C library of musl or Android. 0 also if it cannot
 * be read. */
int elf_check_file(const char *path, struct why *why);

#endif
