#include "worker/fibers/sanitizer.h"

#include <dlfcn.h>
#include <string.h>

void sanitizer_find(struct sanitizer *sanitizer)
{
    const struct {
        const char *name;
        void *function; /* where its address goes */
    } wanted[] = {
        {"__sanitizer_start_switch_fiber", &sanitizer->start_switch},
        {"__sanitizer_finish_switch_fiber", &sanitizer->finish_switch},
        {"__asan_unpoison_memory_region", &sanitizer->unpoison},
        {"__tsan_get_current_fiber", &sanitizer->tsan_current},
        {"__tsan_create_fiber", &sanitizer->tsan_create},
        {"__tsan_destroy_fiber", &sanitizer->tsan_destroy},
        {"__tsan_switch_to_fiber", &sanitizer->tsan_switch},
    };

    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        void *symbol = dlsym(RTLD_DEFAULT, wanted[i].name);
        memcpy(wanted[i].function, &symbol, sizeof symbol);
    }
}
