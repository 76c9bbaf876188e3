/* Defines what host/fleet/image.c does. */
#include "front_image.h"

#include "fleet/image.h"
#include "front_truth.h"

#include <stdlib.h>

struct image {
    unsigned refs;
};

struct image_copy {
    image_copied *done;
    void *data;
    bool cancelled;
};

static struct image_copy *copy; /* under way; NULL: none */
static bool copy_fails;
static unsigned images;

struct image *image_ref(struct image *image)
{
    image->refs++;
    return image;
}

void image_unref(struct image *image)
{
    if (image == NULL || --image->refs > 0)
        return;
    images--;
    free(image);
}

const char *image_file(const struct image *image)
{
    (void)image;
    return "/nowhere/agent.so";
}

int image_fd(const struct image *image)
{
    (void)image;
    return -1;
}

struct image_copy *image_copy_start(uv_loop_t *loop, const char *path, const char *file,
                                    image_copied *done, void *data)
{
    (void)loop;
    (void)path;
    (void)file;
    LAW(copy == NULL || copy->cancelled, "a file is copied twice at a time");
    if (copy == NULL)
        copy = malloc(sizeof *copy);
    *copy = (struct image_copy){.done = done, .data = data};
    return copy;
}

void image_copy_cancel(struct image_copy *cancelled)
{
    if (cancelled)
        cancelled->cancelled = true;
}

const struct stat *image_copy_found(const struct image_copy *found, const struct stat *given)
{
    (void)found;
    return given;
}

void image_fail_copy(void)
{
    copy_fails = true;
}

bool image_is_copied(void)
{
    return copy != NULL;
}

unsigned image_count(void)
{
    return images;
}

void image_turn(void)
{
    struct image_copy finished;
    struct image *image = NULL;

    if (copy == NULL)
        return;
    finished = *copy;
    free(copy);
    copy = NULL;
    if (finished.cancelled)
        return;
    if (!copy_fails) {
        image = calloc(1, sizeof *image);
        image->refs = 1;
        images++;
    }
    copy_fails = false;
    finished.done(finished.data, image, image ? NULL : "refused at copy");
}
