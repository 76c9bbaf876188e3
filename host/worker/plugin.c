#include "worker/plugin.h"

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"

#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <ltdl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY "agent_plugin_entry"

typedef const struct agent_plugin *(*entry_fn)(const struct agent_host *host);

struct plugin {
    char *file; /* what the operator calls it */
    struct agent_plugin info;
    void *self;
    bool created;
};

__attribute__((format(printf, 3, 4))) static int refuse(struct plugin_refusal *refusal,
                                                        const char *step, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    refusal->step = step;
    vsnprintf(refusal->reason, sizeof refusal->reason, format, args);
    va_end(args);
    return -EINVAL;
}

/* The dynamic linker's message without the path it begins with. */
static const char *without_path(const char *message, const char *path)
{
    size_t length = strlen(path);

    return strncmp(message, path, length) == 0 && strncmp(message + length, ": ", 2) == 0
               ? message + length + 2
               : message;
}

/*
 * Loads the module with libltdl. It binds lazily, which turns a missing symbol
 * into the death of the worker at the first call, and its errors often say no
 * more than "file not found"; so the dynamic linker is asked first to bind
 * everything now, or to say what is missing.
 */
static int module_open(const char *path, const char *file, lt_dlhandle *out,
                       struct plugin_refusal *refusal)
{
    lt_dladvise advise;

    if (dlopen(path, RTLD_NOW | RTLD_LOCAL) == NULL)
        return refuse(refusal, "open", "cannot load %s: %s", file, without_path(dlerror(), path));
    if (lt_dlinit() || lt_dladvise_init(&advise))
        return refuse(refusal, "open", "cannot load %s: libltdl: %s", file, lt_dlerror());
    lt_dladvise_local(&advise);
    lt_dladvise_resident(&advise);
    *out = lt_dlopenadvise(path, advise);
    lt_dladvise_destroy(&advise);
    if (*out == NULL)
        return refuse(refusal, "open", "cannot load %s: libltdl: %s", file, lt_dlerror());
    return 0;
}

static int find_entry(const char *file, lt_dlhandle module, entry_fn *out,
                      struct plugin_refusal *refusal)
{
    void *symbol = lt_dlsym(module, ENTRY);

    if (symbol == NULL)
        return refuse(refusal, "entry",
                      "%s is not an agent: wanted the symbol " ENTRY
                      ", found none; register the agent with AGENT_PLUGIN(...)",
                      file);
    memcpy(out, &symbol, sizeof symbol);
    return 0;
}

static int check_abi(const char *file, const struct agent_plugin *theirs,
                     struct plugin_refusal *refusal)
{
    unsigned major, minor;

    if (theirs == NULL)
        return refuse(refusal, "abi", "%s: " ENTRY "() returned NULL", file);
    major = theirs->abi >> 16;
    minor = theirs->abi & 0xffff;
    if (major != AGENT_ABI_MAJOR || minor > AGENT_ABI_MINOR)
        return refuse(refusal, "abi",
                      "%s was built for ABI %u.%u, wanted is %u.0 to %u.%u; "
                      "build it with this host's agent.h",
                      file, major, minor, AGENT_ABI_MAJOR, AGENT_ABI_MAJOR, AGENT_ABI_MINOR);
    if (theirs->size < offsetof(struct agent_plugin, save_state))
        return refuse(refusal, "abi", "%s: its struct agent_plugin has %zu bytes, wanted are %zu",
                      file, theirs->size, sizeof *theirs);
    return 0;
}

static bool name_is_valid(const char *name)
{
    size_t length = strlen(name);

    for (const char *p = name; *p; p++) {
        if (!isalnum((unsigned char)*p) && !strchr("-_.", *p))
            return false;
    }
    return length > 0 && length <= AGENT_NAME_MAX && name[0] != '.';
}

static int check_members(const char *file, const struct agent_plugin *info,
                         struct plugin_refusal *refusal)
{
    const char *missing = info->name == NULL      ? "name"
                          : info->version == NULL ? "version"
                          : info->handle == NULL  ? "handle"
                                                  : NULL;

    if (missing)
        return refuse(refusal, "abi", "%s: the member %s of AGENT_PLUGIN() is not set", file,
                      missing);
    if (!name_is_valid(info->name))
        return refuse(refusal, "abi",
                      "%s: the name '%s' is not 1 to %d of letters, digits, '-', '_' and '.', with "
                      "no '.' first",
                      file, info->name, AGENT_NAME_MAX);
    if (info->mode > AGENT_FIBER)
        return refuse(refusal, "abi", "%s: mode %d is neither AGENT_THREAD nor AGENT_FIBER", file,
                      (int)info->mode);
    return 0;
}

static int plugin_read(struct plugin *plugin, const char *path, const struct agent_host *host,
                       struct plugin_refusal *refusal)
{
    const struct agent_plugin *theirs;
    lt_dlhandle module;
    entry_fn entry = NULL;
    int status;

    if ((status = module_open(path, plugin->file, &module, refusal)) < 0 ||
        (status = find_entry(plugin->file, module, &entry, refusal)) < 0)
        return status;
    theirs = entry(host);
    if ((status = check_abi(plugin->file, theirs, refusal)) < 0)
        return status;
    memcpy(&plugin->info, theirs,
           theirs->size < sizeof plugin->info ? theirs->size : sizeof plugin->info);
    return check_members(plugin->file, &plugin->info, refusal);
}

int plugin_open(const char *path, const char *file, const struct agent_host *host,
                struct plugin **out, struct plugin_refusal *refusal)
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

int plugin_create(struct plugin *plugin, const char *config, const char *state,
                  struct plugin_refusal *refusal)
{
    const struct agent_plugin *info = &plugin->info;
    int status;

    if (info->create && (status = info->create(config, state, &plugin->self)) < 0)
        return refuse(refusal, "create", "%s: create() returned %d (%s)", plugin->file, status,
                      strerror((int)(0u - (unsigned)status)));
    plugin->created = true;
    if (info->selftest && (status = info->selftest(plugin->self)) < 0)
        return refuse(refusal, "selftest", "%s: selftest() returned %d (%s)", plugin->file, status,
                      strerror((int)(0u - (unsigned)status)));
    return 0;
}

const struct agent_plugin *plugin_info(const struct plugin *plugin)
{
    return &plugin->info;
}

int plugin_handle(const struct plugin *plugin, const char *input)
{
    return plugin->info.handle(plugin->self, input);
}

char *plugin_save_state(const struct plugin *plugin, size_t most)
{
    char *state = plugin->info.save_state ? plugin->info.save_state(plugin->self) : NULL;
    ssize_t length = state ? json_check(state, strlen(state)) : 0;

    if (length < 0 || (size_t)length > most) {
        log_plugin("save_state() returned %s; the next generation begins without state",
                   length < 0 ? "what is not JSON" : "more than 1 MiB");
        free(state);
        return NULL;
    }
    if (state)
        state[json_compact(state, state, strlen(state))] = '\0';
    return state;
}

void plugin_destroy(struct plugin *plugin)
{
    if (plugin == NULL)
        return;
    if (plugin->created && plugin->info.destroy)
        plugin->info.destroy(plugin->self);
    free(plugin->file);
    free(plugin);
}
