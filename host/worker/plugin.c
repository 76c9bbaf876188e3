#include "worker/plugin.h"

#include "base/elf.h"
#include "base/log.h"
#include "base/mem.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ltdl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENTRY       "agent_plugin_entry"
#define CXX_GLOBALS "__cxa_get_globals"

typedef const struct agent_plugin *(*entry_fn)(const struct agent_host *host);

struct plugin {
    char *file; /* what the operator calls it */
    lt_dlhandle module;
    struct instance instance;
};

/* Put the file's name before a reason that speaks of the agent only. */
static int name_file(const struct plugin *plugin, int status, struct refusal *refusal)
{
    return why_set(&refusal->why, status, "%s: %s", plugin->file, why_text(&refusal->why));
}

/* Return the dynamic linker's message without the path it begins with. */
static const char *without_path(const char *message, const char *path)
{
    size_t length = strlen(path);

    return strncmp(message, path, length) == 0 && strncmp(message + length, ": ", 2) == 0
               ? message + length + 2
               : message;
}

/* Return the words that go with an error of the dynamic linker. */
static const char *advice(const char *message)
{
    return strstr(message, "static TLS block")
               ? "; the plugin or a library of its needs more thread-local storage than is kept "
                 "free: start sluice with GLIBC_TUNABLES=glibc.rtld.optional_static_tls=65536, "
                 "or more, in its environment"
               : "";
}

/*
 * Load the module with libltdl. libltdl binds lazily, so a missing symbol would
 * kill the worker at the first call, and its errors often say no more than "file
 * not found". So ask the dynamic linker first: it binds everything now, or says
 * what is missing.
 */
static int module_open(const char *path, const char *file, lt_dlhandle *out,
                       struct refusal *refusal)
{
    lt_dladvise advise;
    struct why why = {0};

    if (elf_check_file(path, &why) < 0) {
        refuse(refusal, -EINVAL, "open", "cannot load %s: %s", file, why_text(&why));
        why_finish(&why);
        return -EINVAL;
    }
    if (dlopen(path, RTLD_NOW | RTLD_LOCAL) == NULL) {
        const char *message = dlerror();
        return refuse(refusal, -EINVAL, "open", "cannot load %s: %s%s", file,
                      without_path(message, path), advice(message));
    }
    if (lt_dlinit() || lt_dladvise_init(&advise))
        return refuse(refusal, -EINVAL, "open", "cannot load %s: libltdl: %s", file, lt_dlerror());
    lt_dladvise_local(&advise);
    lt_dladvise_resident(&advise);
    *out = lt_dlopenadvise(path, advise);
    lt_dladvise_destroy(&advise);
    if (*out == NULL)
        return refuse(refusal, -EINVAL, "open", "cannot load %s: libltdl: %s", file, lt_dlerror());
    return 0;
}

static int find_entry(const char *file, lt_dlhandle module, entry_fn *out, struct refusal *refusal)
{
    void *symbol = lt_dlsym(module, ENTRY);

    if (symbol == NULL)
        return refuse(refusal, -EINVAL, "entry",
                      "%s is not an agent: wanted the symbol " ENTRY
                      ", found none; register the agent with AGENT_PLUGIN(...)",
                      file);
    memcpy(out, &symbol, sizeof symbol);
    return 0;
}

static int plugin_read(struct plugin *plugin, const char *path, const struct agent_host *host,
                       struct refusal *refusal)
{
    entry_fn entry = NULL;
    int status;

    if ((status = module_open(path, plugin->file, &plugin->module, refusal)) < 0 ||
        (status = find_entry(plugin->file, plugin->module, &entry, refusal)) < 0)
        return status;
    status = instance_declare(&plugin->instance, entry(host), refusal);
    return status < 0 ? name_file(plugin, status, refusal) : 0;
}

int plugin_open(const char *path, const char *file, const struct agent_host *host,
                struct plugin **out, struct refusal *refusal)
{
    struct plugin *plugin = mem_alloc(sizeof *plugin);
    /* With a slash in it, or the dynamic linker looks elsewhere. */
    char *place = strchr(path, '/') ? mem_strdup(path) : mem_printf("./%s", path);
    int status;

    plugin->file = mem_strdup(file);
    status = plugin_read(plugin, place, host, refusal);
    free(place);
    if (status < 0) {
        plugin_destroy(plugin);
        return status;
    }
    *out = plugin;
    return 0;
}

size_t plugin_runtimes(const struct plugin *plugin, cxx_globals *found[PLUGIN_RUNTIMES_MAX])
{
    static const char *const libraries[] = {"libstdc++.so.6", "libc++abi.so.1", "libc++.so.1"};
    void *symbols[PLUGIN_RUNTIMES_MAX - 1] = {lt_dlsym(plugin->module, CXX_GLOBALS)};
    size_t count = 0;

    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        void *library = dlopen(libraries[i], RTLD_LAZY | RTLD_NOLOAD);
        symbols[i + 1] = library ? dlsym(library, CXX_GLOBALS) : NULL;
    }
    if (plugin->instance.info.cxx_globals)
        found[count++] = plugin->instance.info.cxx_globals;
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        if (symbols[i])
            memcpy(&found[count++], &symbols[i], sizeof *found);
    }
    return count;
}

bool plugin_looks_beside(const char *path)
{
    static const char *const words[] = {"$ORIGIN", "${ORIGIN}", "\0dladdr"};
    static const size_t lengths[] = {7, 9, 7};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat found = {0};
    bool looks = false;
    void *map;

    if (fd >= 0 && fstat(fd, &found) == 0 && found.st_size > 0) {
        map = mmap(NULL, (size_t)found.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        for (size_t i = 0; map != MAP_FAILED && i < sizeof words / sizeof *words; i++)
            looks |= memmem(map, (size_t)found.st_size, words[i], lengths[i]) != NULL;
        if (map != MAP_FAILED)
            munmap(map, (size_t)found.st_size);
    }
    if (fd >= 0)
        close(fd);
    return looks;
}

int plugin_create(struct plugin *plugin, const char *config, const char *state,
                  struct refusal *refusal)
{
    int status = instance_create(&plugin->instance, config, state, refusal);

    return status < 0 ? name_file(plugin, status, refusal) : 0;
}

const struct agent_plugin *plugin_info(const struct plugin *plugin)
{
    return &plugin->instance.info;
}

const struct card *plugin_card(const struct plugin *plugin)
{
    return &plugin->instance.card;
}

int plugin_handle(const struct plugin *plugin, const char *input)
{
    return instance_handle(&plugin->instance, input);
}

char *plugin_save_state(const struct plugin *plugin)
{
    struct buf why = {0};
    char *state = NULL;

    if (instance_save_state(&plugin->instance, &state, &why) < 0)
        log_plugin("save_state() returned %.*s. The next generation begins without state",
                   (int)buf_length(&why), buf_data(&why));
    buf_finish(&why);
    return state;
}

void plugin_destroy(struct plugin *plugin)
{
    if (plugin == NULL)
        return;
    instance_destroy(&plugin->instance);
    free(plugin->file);
    free(plugin);
}
