/*
 * Steps: open without waiting (a FIFO named *.so must not hang the front); refuse a
 * file that would take the memory of everybody else, for the copy is in memory; look
 * at the ELF header, whose section table ends the file, to see whether all of it is
 * there; copy with sendfile(2); seal.
 *
 * A copy off the loop is made by a thread of libuv's pool, which owns the image
 * until it is done. A copy that is cancelled stops at the next piece.
 *
 * If FILE.sha256 is there, the copy must have the SHA-256 that it begins with, as
 * sha256sum(1) writes it. The copy is what is checked, so that it is what is loaded.
 *
 * The size check makes a file that is still being written a temporary error: its
 * watcher calls again when the writer pauses.
 */
#include "fleet/image.h"

#include "base/capacity.h"
#include "base/digest.h"
#include "base/elf.h"
#include "base/mem.h"
#include "base/pool.h"
#include "fleet/look.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <link.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

/* Bytes between two looks at whether the copy is still wanted. */
#define PIECE ((size_t)4 << 20)

#define SEALS (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)

struct image {
    unsigned refs;
    char *file;
    int fd;
};

/* What the copying thread and the loop share. */
struct progress {
    atomic_bool cancelled;
    atomic_bool found_set;
    struct stat found; /* set before found_set */
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
    struct why foreign = {0};
    int status = got < 0 ? 0 : elf_check_machine(&header, (size_t)got, &foreign);

    if (status < 0)
        why_set(why, 0, "refused at copy: %s: %s", file, why_text(&foreign));
    why_finish(&foreign);
    if (status < 0)
        return status;
    if (wanted == 0 && size >= (off_t)sizeof header)
        return why_set(why, -ENOEXEC, "refused at copy: %s is not a shared object (ELF)", file);
    if (wanted == 0 || (uint64_t)size < wanted)
        return why_set(why, -EAGAIN,
                       "refused at copy: %s is not whole: it has %jd bytes, wanted are %" PRIu64,
                       file, (intmax_t)size, wanted ? wanted : sizeof header);
    return 0;
}

/* Write the SHA-256 of the copy in hex. */
static int copy_digest(int fd, size_t size, char hex[2 * DIGEST_SIZE + 1])
{
    void *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    unsigned char digest[DIGEST_SIZE];

    if (map == MAP_FAILED)
        return -errno;
    digest_make(map, size, digest);
    munmap(map, size);
    for (size_t i = 0; i < DIGEST_SIZE; i++)
        sprintf(hex + 2 * i, "%02x", digest[i]);
    return 0;
}

/* Read the checksum beside the file; "" if there is none. */
static int read_sum(const char *path, char hex[2 * DIGEST_SIZE + 1])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t got;

    hex[0] = '\0';
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    got = read(fd, hex, 2 * DIGEST_SIZE);
    close(fd);
    if (got < 0)
        return -errno;
    hex[got] = '\0';
    return strspn(hex, "0123456789abcdefABCDEF") == 2 * DIGEST_SIZE ? 0 : -EINVAL;
}

static int check_sum(const char *file, int fd, size_t size, struct why *why)
{
    char wanted[2 * DIGEST_SIZE + 1], found[2 * DIGEST_SIZE + 1];
    char *path = mem_printf("%s" LOOK_SUM, file);
    int status = read_sum(path, wanted);

    if (status < 0)
        why_set(why, 0, "refused at checksum: cannot read the SHA-256 of %s in %s: %s", file, path,
                status == -EINVAL ? "wanted are 64 hex digits, as sha256sum writes them"
                                  : strerror(-status));
    else if (*wanted && (status = copy_digest(fd, size, found)) == 0 &&
             strcasecmp(wanted, found) != 0)
        status = why_set(why, -EINVAL,
                         "refused at checksum: %s is not what %s says: it has %s, wanted is %s",
                         file, path, found, wanted);
    free(path);
    return status;
}

static int copy_file(int from, const char *path, const char *file, struct progress *progress,
                     struct image *image, struct why *why)
{
    const char *slash = strrchr(file, '/');
    off_t at = 0, size;
    int status;

    if (fstat(from, &progress->found) < 0)
        return -errno;
    atomic_store(&progress->found_set, true);
    if (!S_ISREG(progress->found.st_mode))
        return why_set(why, -EINVAL, "refused at copy: %s is not a regular file", file);
    size = progress->found.st_size;
    if ((uint64_t)size > capacity_memory("") / 2)
        return why_set(why, -EFBIG,
                       "refused at copy: %s has %jd bytes, more than half of the memory there is",
                       file, (intmax_t)size);
    status = check_whole(from, size, file, why);
    if (status < 0)
        return status;
    image->fd = memfd_create(slash ? slash + 1 : file, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (image->fd < 0)
        return -errno;
    while (at < size) {
        size_t piece = (size_t)(size - at) < PIECE ? (size_t)(size - at) : PIECE;
        ssize_t sent =
            atomic_load(&progress->cancelled) ? 0 : sendfile(image->fd, from, &at, piece);
        if (sent <= 0)
            return sent < 0 ? -errno : -EAGAIN; /* cancelled, or the file became shorter */
    }
    if (fcntl(image->fd, F_ADD_SEALS, SEALS) < 0)
        return -errno;
    return check_sum(path, image->fd, (size_t)size, why);
}

static int create(const char *path, const char *file, struct progress *progress, struct image **out,
                  struct why *why)
{
    struct image *image = mem_alloc(sizeof *image);
    int from = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int status = from < 0 ? -errno : 0;

    image->refs = 1;
    image->file = mem_strdup(file);
    image->fd = -1;
    if (status == 0) {
        status = copy_file(from, path, file, progress, image, why);
        close(from);
    }
    if (status < 0) {
        if (!*why_text(why))
            why_set(why, 0, "refused at copy: %s: %s", path, strerror(-status));
        image_unref(image);
        return status;
    }
    *out = image;
    return 0;
}

int image_create(const char *file, struct image **out, struct why *why)
{
    struct progress progress = {.cancelled = false};

    return create(file, file, &progress, out, why);
}

/* ---- off the loop ---- */

struct image_copy {
    uv_work_t work;
    char *path, *file;
    struct progress progress;
    struct image *image; /* NULL if that failed */
    struct why why;
    image_copied *done;
    void *data;
};

static void on_work(uv_work_t *work)
{
    struct image_copy *copy = work->data;

    create(copy->path, copy->file, &copy->progress, &copy->image, &copy->why);
}

static void on_worked(uv_work_t *work, int status)
{
    struct image_copy *copy = work->data;

    (void)status; /* UV_ECANCELED only after image_copy_cancel() */
    if (atomic_load(&copy->progress.cancelled))
        image_unref(copy->image);
    else
        copy->done(copy->data, copy->image, copy->image ? NULL : why_text(&copy->why));
    why_finish(&copy->why);
    free(copy->path);
    free(copy->file);
    free(copy);
}

struct image_copy *image_copy_start(uv_loop_t *loop, const char *path, const char *file,
                                    image_copied *done, void *data)
{
    struct image_copy *copy = mem_alloc(sizeof *copy);

    copy->work.data = copy;
    copy->path = mem_strdup(path);
    copy->file = mem_strdup(file);
    copy->done = done;
    copy->data = data;
    pool_queue(loop, &copy->work, on_work, on_worked);
    return copy;
}

const struct stat *image_copy_found(const struct image_copy *copy, const struct stat *given)
{
    return atomic_load(&copy->progress.found_set) ? &copy->progress.found : given;
}

void image_copy_cancel(struct image_copy *copy)
{
    if (copy == NULL)
        return;
    atomic_store(&copy->progress.cancelled, true);
    uv_cancel((uv_req_t *)&copy->work);
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
