/*
 * Steps: open without waiting (a FIFO named *.so must not hang the front); look
 * at the ELF header, whose section table ends the file, to see whether all of
 * it is there; copy with sendfile(2); seal.
 *
 * The size check makes a file that is still being written a temporary error: its
 * watcher calls again when the writer pauses.
 */
#include "fleet/image.h"

#include "base/mem.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <link.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

#define SEALS (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)

struct image {
    unsigned refs;
    char *file;
    int fd;
    struct stat copied;
};

/* Return the length that an ELF object must have at least, or 0 if it is none. */
static uint64_t elf_size(const ElfW(Ehdr) * header, size_t length)
{
    if (length < sizeof *header || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0)
        return 0;
    return header->e_shoff + (uint64_t)header->e_shnum * header->e_shentsize;
}

/* Return -EAGAIN for the beginning of an ELF object, -ENOEXEC for another file. */
static int check_whole(int fd, off_t size, const char *file, struct why *why)
{
    ElfW(Ehdr) header;
    ssize_t got = pread(fd, &header, sizeof header, 0);
    uint64_t wanted = got < 0 ? 0 : elf_size(&header, (size_t)got);

    if (wanted == 0 && size >= (off_t)sizeof header)
        return why_set(why, -ENOEXEC, "refused at copy: %s is not a shared object (ELF)", file);
    if (wanted == 0 || (uint64_t)size < wanted)
        return why_set(why, -EAGAIN,
                       "refused at copy: %s is not whole: it has %jd bytes, wanted are %" PRIu64,
                       file, (intmax_t)size, wanted ? wanted : sizeof header);
    return 0;
}

static int copy_file(int from, const char *file, struct image *image, struct why *why)
{
    const char *slash = strrchr(file, '/');
    off_t at = 0, size;
    int status;

    if (fstat(from, &image->copied) < 0)
        return -errno;
    if (!S_ISREG(image->copied.st_mode))
        return why_set(why, -EINVAL, "refused at copy: %s is not a regular file", file);
    size = image->copied.st_size;
    status = check_whole(from, size, file, why);
    if (status < 0)
        return status;
    image->fd = memfd_create(slash ? slash + 1 : file, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (image->fd < 0)
        return -errno;
    while (at < size) {
        ssize_t sent = sendfile(image->fd, from, &at, (size_t)(size - at));
        if (sent <= 0)
            return sent < 0 ? -errno : -EAGAIN; /* it became shorter */
    }
    return fcntl(image->fd, F_ADD_SEALS, SEALS) < 0 ? -errno : 0;
}

int image_create(const char *file, struct image **out, struct why *why)
{
    struct image *image = mem_alloc(sizeof *image);
    int from = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int status = from < 0 ? -errno : 0;

    image->refs = 1;
    image->file = mem_strdup(file);
    image->fd = -1;
    if (status == 0) {
        status = copy_file(from, file, image, why);
        close(from);
    }
    if (status < 0) {
        if (!*why_text(why))
            why_set(why, 0, "refused at copy: %s: %s", file, strerror(-status));
        image_unref(image);
        return status;
    }
    *out = image;
    return 0;
}

struct image *image_ref(struct image *image)
{
    image->refs++;
    return image;
}

void image_unref(struct image *image)
{
    if (image == NULL || --image->refs > 0)
        return;
    if (image->fd >= 0)
        close(image->fd);
    free(image->file);
    free(image);
}

const char *image_file(const struct image *image)
{
    return image->file;
}

int image_fd(const struct image *image)
{
    return image->fd;
}

bool image_is_current(const struct image *image, const struct stat *now)
{
    const struct stat *copied = &image->copied;

    return copied->st_dev == now->st_dev && copied->st_ino == now->st_ino &&
           copied->st_size == now->st_size && copied->st_mtim.tv_sec == now->st_mtim.tv_sec &&
           copied->st_mtim.tv_nsec == now->st_mtim.tv_nsec;
}
