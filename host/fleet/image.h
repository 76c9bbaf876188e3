/*
 * A private copy of a plugin's file, in memory (memfd_create(2)) and sealed.
 *
 * Workers load the copy, never the operator's file, so changes to the file
 * cannot reach code that runs. Each copy is a new file to the dynamic linker,
 * which would otherwise return the old code for a name or inode that it knows.
 * A copy leaves nothing on disk, however the front ends.
 */
#ifndef FLEET_IMAGE_H
#define FLEET_IMAGE_H

#include "base/why.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <uv.h>

struct image;

/*
 * Copy the file, and check it against its checksum if there is one. -EAGAIN if the file is not
 * whole yet, shorter than its ELF header says; other -errno. The reason, which must be empty
 * before, names the file.
 */
int image_create(const char *file, struct image **out, struct why *why);

struct image_copy;

/*
 * Called once, from the loop, with the image, or with NULL and the reason; the copy is
 * freed after the call.
 */
typedef void image_copied(void *data, struct image *image, const char *reason);

/* Copy the file at this path off the loop; file is what the operator calls it. */
struct image_copy *image_copy_start(uv_loop_t *loop, const char *path, const char *file,
                                    image_copied *done, void *data);

/* Return the file that is copied; until it was opened, or if that failed, what is given. */
const struct stat *image_copy_found(const struct image_copy *copy, const struct stat *given);

/* Stop copying; done() is not called. NULL is ignored. */
void image_copy_cancel(struct image_copy *copy);

struct image *image_ref(struct image *image);

/* NULL is ignored. */
void image_unref(struct image *image);

/* Return the path of the operator's file. */
const char *image_file(const struct image *image);

/* Return the copy's descriptor, which the image closes. */
int image_fd(const struct image *image);

#endif
