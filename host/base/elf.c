#include "base/elf.h"

#include "base/why.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct machine {
    unsigned number;
    const char *narrow, *wide; /* of 32 and 64 bits */
} machines[] = {
    {EM_386, "i386", "i386"},         {EM_X86_64, "x32", "x86-64"},
    {EM_ARM, "ARM", "ARM"},           {EM_AARCH64, "ARM64 (ILP32)", "ARM64"},
    {EM_RISCV, "RISC-V", "RISC-V"},   {EM_PPC, "PowerPC", "PowerPC"},
    {EM_PPC64, "PowerPC", "PowerPC"}, {EM_S390, "s390", "s390x"},
    {EM_MIPS, "MIPS", "MIPS"},        {EM_SPARC, "SPARC", "SPARC"},
    {EM_SPARCV9, "SPARC", "SPARC"},   {258, "LoongArch", "LoongArch"},
};

static const struct {
    unsigned char number;
    const char *name;
} systems[] = {{2, "NetBSD"}, {6, "Solaris"}, {9, "FreeBSD"}, {12, "OpenBSD"}, {0, NULL}};

/* Write such words as "64-bit x86-64"; the order of bytes where the machine has both. */
static void describe(char *to, size_t size, int class, int data, unsigned number, bool with_order)
{
    const char *name = NULL;
    char other[24];

    for (size_t i = 0; i < sizeof machines / sizeof *machines && name == NULL; i++) {
        if (machines[i].number == number)
            name = class == ELFCLASS32 ? machines[i].narrow : machines[i].wide;
    }
    snprintf(other, sizeof other, "machine %u", number);
    snprintf(to, size, "%s-bit %s%s",
             class == ELFCLASS32   ? "32"
             : class == ELFCLASS64 ? "64"
                                   : "unknown",
             name ? name : other,
             !with_order           ? ""
             : data == ELFDATA2MSB ? " (big-endian)"
                                   : " (little-endian)");
}

int elf_check_machine(const void *head, size_t length, struct why *why)
{
    const unsigned char *bytes = head;
    ElfW(Ehdr) own;
    unsigned machine;
    char theirs[64], ours[64];
    bool with_order;
    int fd;

    if (length < 20 || memcmp(bytes, ELFMAG, SELFMAG) != 0)
        return 0;
    fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    if (read(fd, &own, sizeof own) != (ssize_t)sizeof own) {
        close(fd);
        return 0;
    }
    close(fd);
    machine =
        bytes[EI_DATA] == ELFDATA2MSB ? bytes[18] << 8u | bytes[19] : bytes[19] << 8u | bytes[18];
    with_order = bytes[EI_DATA] != own.e_ident[EI_DATA];
    describe(theirs, sizeof theirs, bytes[EI_CLASS], bytes[EI_DATA], machine, with_order);
    describe(ours, sizeof ours, own.e_ident[EI_CLASS], own.e_ident[EI_DATA], own.e_machine,
             with_order);
    if (strcmp(theirs, ours) != 0)
        return why_set(why, -ENOEXEC, "built for %s, this host is %s", theirs, ours);
    for (size_t i = 0; systems[i].name; i++) {
        if (bytes[EI_OSABI] == systems[i].number)
            return why_set(why, -ENOEXEC, "built for %s, this host is Linux", systems[i].name);
    }
    return 0;
}

/* ---- the C library that it needs ---- */

struct mapped {
    const char *base;
    size_t size;
};

/* Return what the file has at this offset, or NULL if that is outside or not aligned. */
static const void *at(const struct mapped *file, uint64_t offset, size_t size, size_t alignment)
{
    return offset <= file->size && file->size - offset >= size && offset % alignment == 0
               ? file->base + offset
               : NULL;
}

/* Return the segment of this type that has the address, or the first if it is 0; or NULL. */
static const ElfW(Phdr) * segment(const struct mapped *file, unsigned type, uint64_t address)
{
    const ElfW(Ehdr) *header = at(file, 0, sizeof *header, 1);

    for (unsigned i = 0; header && i < header->e_phnum; i++) {
        const ElfW(Phdr) *found = at(file, header->e_phoff + (uint64_t)i * sizeof *found,
                                     sizeof *found, _Alignof(ElfW(Phdr)));
        if (found && found->p_type == type &&
            (address == 0 ||
             (address >= found->p_vaddr && address - found->p_vaddr < found->p_filesz)))
            return found;
    }
    return NULL;
}

/* Return the name of the first library of those that the file needs which begins so, or NULL. */
static const char *needed(const struct mapped *file, const char *name, bool whole)
{
    const ElfW(Phdr) *dynamic = segment(file, PT_DYNAMIC, 0), *load;
    uint64_t strings = 0;
    const ElfW(Dyn) * entry;

    for (int pass = 0; dynamic && pass < 2; pass++) {
        for (uint64_t i = 0; dynamic->p_filesz - i >= sizeof *entry; i += sizeof *entry) {
            entry = at(file, dynamic->p_offset + i, sizeof *entry, _Alignof(ElfW(Dyn)));
            if (entry == NULL || entry->d_tag == DT_NULL)
                break;
            if (entry->d_tag == DT_STRTAB &&
                (load = segment(file, PT_LOAD, entry->d_un.d_ptr)) != NULL)
                strings = load->p_offset + (entry->d_un.d_ptr - load->p_vaddr);
            if (pass == 1 && entry->d_tag == DT_NEEDED) {
                uint64_t offset = strings + entry->d_un.d_val;
                const char *text = at(file, offset, strlen(name) + 1, 1);
                if (text && strncmp(text, name, strlen(name)) == 0 &&
                    memchr(text, '\0', file->size - offset) &&
                    (!whole || text[strlen(name)] == '\0'))
                    return text;
            }
        }
    }
    return NULL;
}

int elf_check_file(const char *path, struct why *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), status = 0;
    struct mapped file = {.base = NULL};
    struct stat found = {0};
    const char *name;
    void *map;

    if (fd < 0 || fstat(fd, &found) < 0 || found.st_size < (off_t)sizeof(ElfW(Ehdr))) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    map = mmap(NULL, (size_t)found.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        return 0;
    file.base = map;
    file.size = (size_t)found.st_size;
    status = elf_check_machine(map, file.size, why);
    if (status < 0)
        goto unmap;
    if ((name = needed(&file, "libc.musl-", false)) ||
        ((name = needed(&file, "libc.so", true)) && !needed(&file, "libdl.so", true)))
        status = why_set(why, -ENOEXEC, "built for musl (needs %.80s), this host uses glibc", name);
    else if (name)
        status = why_set(why, -ENOEXEC, "built for Android (needs %s), this host uses glibc", name);
unmap:
    munmap(map, file.size);
    return status;
}
