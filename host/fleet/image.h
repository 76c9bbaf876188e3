/*
 * A private copy of a plugin's file, in memory (memfd_create(2)) and sealed.
 *
 * Workers load the copy, never the operator's file: what happens to that one
 * cannot reach code that runs, each copy is a new file to the dynamic linker,
 * which would give out the old code for a name or inode that it knows, and a
 * copy leaves nothing behind on disk, however the front ends.
 */
#ifndef FLEET_IMAGE_H
#define FLEET_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

struct image;

/*
 * Copies the file. -EAGAIN if it is not whole yet: it is not as long as its
 * ELF header says; other -errno. The reason, for people, names the file.
 */
int image_create(const char *file, struct image **out, char *reason, size_t reason_size);

struct image *image_ref(struct image *image);
void image_unref(struct image *image);

/* The operator's file. */
const char *image_file(const struct image *image);

/* The copy's descriptor; the image's. */
int image_fd(const struct image *image);

/* Whether the file still is what was copied: same inode, size and time of change. */
bool image_is_current(const struct image *image, const struct stat *now);

#endif
