/* Tables that lead out of the file, read of a copy of this program. */
#include "../case.h"
#include "base/elf.h"
#include "base/why.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HEAD 8192

CASES("elf");

static int check(int fd)
{
    struct why why = {0};
    char path[64];
    int status;

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    status = elf_check_file(path, &why);
    ck_assert_int_eq(status < 0, *why_text(&why) != '\0');
    why_finish(&why);
    return status;
}

CASE(any_bytes)
{
    int fd = memfd_create("elf", MFD_CLOEXEC);
    FILE *own = fopen("/proc/self/exe", "re");
    char *head = malloc(HEAD), piece[4096];
    size_t got;

    while ((got = fread(piece, 1, sizeof piece, own)) > 0)
        ck_assert_int_eq(write(fd, piece, got), (ssize_t)got);
    fclose(own);
    ck_assert_int_eq(pread(fd, head, HEAD, 0), HEAD);
    ck_assert_int_eq(check(fd), 0);
    for (size_t at = 16; at + 8 <= HEAD; at += 4) {
        for (int byte = 0; byte < 256; byte += 51) {
            memset(piece, byte, 8);
            ck_assert_int_eq(pwrite(fd, piece, 8, (off_t)at), 8);
            check(fd);
        }
        ck_assert_int_eq(pwrite(fd, head + at, 8, (off_t)at), 8);
    }
    for (off_t size = HEAD; size >= 0; size -= 8) {
        ck_assert_int_eq(ftruncate(fd, size), 0);
        check(fd);
    }
    free(head);
    close(fd);
}
