/*
 * fiber_frame: a stack that overflows by one large frame, among the stacks of
 * other runs. {"how":H,"until":PATH} emits the event ready {} and then, if H is
 *
 *     wait   waits until it is cancelled
 *     frame  waits until PATH exists, then calls a function whose frame is larger
 *            than a stack, and that touches the frame's far end first
 */
#include <sluice/agent_json.h>

#include <string.h>
#include <unistd.h>

#define FRAME   (280 * 1024)
#define TOUCHED (16 * 1024)
#define LONG_MS 600000

static int wait_for_file(const char *path)
{
    int status = 0;

    while (status == 0 && access(path, F_OK) < 0)
        status = agent_sleep(2);
    return status;
}

/* An array of this size would do too, if the compiler did not touch every page of it in turn. */
__attribute__((noinline)) static int use_large_frame(void)
{
    volatile char *far = (volatile char *)__builtin_frame_address(0) - FRAME;

    for (size_t i = 0; i < TOUCHED; i++)
        far[i] = 1;
    return far[0] == 1 ? 0 : -EIO;
}

static int handle(void *self, const char *input)
{
    cJSON *json = cJSON_Parse(input);
    int status;

    (void)self;
    emit_event("ready", "{}");
    if (strcmp(json_string(json, "how", ""), "frame") == 0) {
        status = wait_for_file(json_string(json, "until", "/"));
        if (status == 0)
            status = use_large_frame();
    } else {
        status = agent_sleep(LONG_MS);
    }
    cJSON_Delete(json);
    return status;
}

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "fiber_frame", .version = "1.0", .handle = handle)
