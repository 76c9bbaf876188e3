/*
 * A backtrace inside a signal handler must not allocate or lock:
 *
 *     frames     backtrace(3) of glibc: its unwinder, libgcc, is loaded by a first call in
 *                trace_open(), and finds tables with _dl_find_object(3), which takes no lock
 *     modules    _dl_find_object(3), too
 *     names      of the plugin: its file's symbol table, mapped in trace_open(). Of other modules:
 *                dladdr(3), which takes the dynamic linker's lock; whoever calls from a handler
 *                bounds the time (crash.c)
 *     lines      addr2line(1), a child that inherits the plugin's file. It is confined as this
 *                process is, so a plugin's debug information is read with the plugin's rights,
 * never with the front's
 *
 * A call through a bad pointer leaves no frame that can be unwound; the unwinder is then
 * given the caller's, whose address is where the call put it.
 */
#include "worker/trace.h"

#include "base/jot.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What the child may print. */
#define LINES_SIZE (16 * 1024)

/* The plugin's file. */
static struct {
    char path[PATH_MAX]; /* as the dynamic linker knows it */
    char name[128];
    int fd;
    const char *data; /* the file, mapped; NULL if it cannot be */
    size_t size;
    const ElfW(Sym) * symbols;
    size_t symbol_count;
    const char *strings;
    size_t strings_size;
    char resolver[PATH_MAX]; /* addr2line; "" if there is none */
} plugin = {.fd = -1};

uintptr_t trace_pc(const ucontext_t *context)
{
#if defined(__x86_64__)
    return (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (uintptr_t)context->uc_mcontext.pc;
#else
    (void)context;
    return 0;
#endif
}

uintptr_t trace_sp(const ucontext_t *context)
{
#if defined(__x86_64__)
    return (uintptr_t)context->uc_mcontext.gregs[REG_RSP];
#elif defined(__aarch64__)
    return (uintptr_t)context->uc_mcontext.sp;
#else
    (void)context;
    return 0;
#endif
}

/* ---- the plugin's file ---- */

/* Return the bytes at this place of the file, or NULL. */
static const void *file_part(size_t offset, size_t length)
{
    return offset <= plugin.size && length <= plugin.size - offset ? plugin.data + offset : NULL;
}

/* Find the symbols of the file; of those for the dynamic linker alone if it was stripped. */
static void find_symbols(void)
{
    const ElfW(Ehdr) *header = file_part(0, sizeof *header);
    const ElfW(Shdr) * sections, *found = NULL, *strings;

    if (header == NULL || header->e_shentsize != sizeof *sections ||
        (sections = file_part(header->e_shoff, header->e_shnum * sizeof *sections)) == NULL)
        return;
    for (size_t i = 0; i < header->e_shnum; i++) {
        if (sections[i].sh_type == SHT_SYMTAB || (sections[i].sh_type == SHT_DYNSYM && !found))
            found = &sections[i];
    }
    if (found == NULL || found->sh_link >= header->e_shnum)
        return;
    strings = &sections[found->sh_link];
    plugin.symbols = file_part(found->sh_offset, found->sh_size);
    plugin.strings = file_part(strings->sh_offset, strings->sh_size);
    if (plugin.symbols == NULL || plugin.strings == NULL || strings->sh_size == 0 ||
        plugin.strings[strings->sh_size - 1] != '\0')
        return;
    plugin.symbol_count = found->sh_size / sizeof *plugin.symbols;
    plugin.strings_size = strings->sh_size;
}

static void map_file(const char *path)
{
    struct stat found;
    void *data;

    plugin.fd = open(path, O_RDONLY | O_CLOEXEC);
    if (plugin.fd < 0 || fstat(plugin.fd, &found) < 0 || found.st_size <= 0)
        return;
    data = mmap(NULL, (size_t)found.st_size, PROT_READ, MAP_PRIVATE, plugin.fd, 0);
    if (data == MAP_FAILED)
        return;
    plugin.data = data;
    plugin.size = (size_t)found.st_size;
    find_symbols();
}

static void find_resolver(void)
{
    const char *folders = getenv("PATH"), *at = folders ? folders : "/usr/local/bin:/usr/bin:/bin";

    while (*at) {
        size_t length = strcspn(at, ":");
        struct jot path = {.length = 0};
        jot_bytes(&path, at, length);
        jot_text(&path, "/addr2line");
        if (*at == '/' && access(path.text, X_OK) == 0) {
            memcpy(plugin.resolver, path.text, path.length + 1);
            return;
        }
        at += length + (at[length] == ':');
    }
}

void trace_open(const char *path, const char *file)
{
    const char *slash = strrchr(file, '/');
    void *frames[2];

    backtrace(frames, 2);
    strncpy(plugin.name, slash ? slash + 1 : file, sizeof plugin.name - 1);
    strncpy(plugin.path, path, sizeof plugin.path - 1);
    map_file(path);
    find_resolver();
}

/* ---- modules ---- */

/* Return the module in which this address is, or NULL. */
static const struct link_map *module_of(uintptr_t address)
{
    struct dl_find_object found;

    return _dl_find_object((void *)address, &found) == 0 ? found.dlfo_link_map : NULL;
}

static bool is_plugin(const struct link_map *module)
{
    return module && *plugin.path && strcmp(module->l_name, plugin.path) == 0;
}

static bool is_host(const struct link_map *module)
{
    return module && *module->l_name == '\0';
}

static const char *module_name(const struct link_map *module)
{
    const char *slash = strrchr(module->l_name, '/');

    if (is_plugin(module))
        return plugin.name;
    return is_host(module) ? "sluice" : slash ? slash + 1 : module->l_name;
}

/* Return the name of the plugin's function at this offset, or NULL. */
static const char *plugin_symbol(uintptr_t offset)
{
    for (size_t i = 0; i < plugin.symbol_count; i++) {
        const ElfW(Sym) *symbol = &plugin.symbols[i];
        if ((symbol->st_info & 15) == STT_FUNC && symbol->st_name < plugin.strings_size &&
            offset - symbol->st_value < symbol->st_size)
            return plugin.strings + symbol->st_name;
    }
    return NULL;
}

static const char *symbol_of(const struct link_map *module, uintptr_t address)
{
    Dl_info found;

    if (is_plugin(module) && plugin.symbol_count > 0)
        return plugin_symbol(address - module->l_addr);
    return dladdr((void *)address, &found) && found.dli_sname ? found.dli_sname : NULL;
}

/* ---- frames ---- */

static void add_frame(struct trace *trace, uintptr_t address)
{
    trace->frames[trace->count].line[0] = '\0';
    trace->frames[trace->count++].address = address;
}

/* If no code is at the interrupted address, it was called: let the context be the caller's. */
static void go_to_caller(ucontext_t *context)
{
#if defined(__x86_64__)
    greg_t *registers = context->uc_mcontext.gregs;
    uintptr_t caller = *(const uintptr_t *)registers[REG_RSP];

    if (module_of(caller) == NULL)
        return;
    registers[REG_RIP] = (greg_t)caller;
    registers[REG_RSP] += (greg_t)sizeof caller;
#elif defined(__aarch64__)
    if (module_of((uintptr_t)context->uc_mcontext.regs[30]))
        context->uc_mcontext.pc = context->uc_mcontext.regs[30];
#else
    (void)context;
#endif
}

/* Return the first of these addresses that is of interest; see trace_take(). */
static int first_frame(void *const *addresses, int count, const ucontext_t *context)
{
    const struct link_map *libc = module_of((uintptr_t)exit);
    int at = 0;

    if (context) {
        while (at < count && (uintptr_t)addresses[at] != trace_pc(context))
            at++;
        return at < count ? at : 0;
    }
    /* The plugin's first, and before it those of libraries that it called. */
    while (at < count && !is_plugin(module_of((uintptr_t)addresses[at])))
        at++;
    while (at > 0 && at < count && !is_host(module_of((uintptr_t)addresses[at - 1])) &&
           module_of((uintptr_t)addresses[at - 1]) != libc)
        at--;
    if (at == count)
        return 0;
    return at;
}

void trace_take(struct trace *trace, ucontext_t *context)
{
    void *addresses[TRACE_FRAMES + 8];
    ucontext_t kept;
    int count, first;

    trace->count = 0;
    if (context) {
        kept = *context;
        if (module_of(trace_pc(context)) == NULL) {
            add_frame(trace, trace_pc(context));
            go_to_caller(context);
        }
    }
    count = backtrace(addresses, TRACE_FRAMES + 8);
    first = first_frame(addresses, count, context);
    for (int i = first; i < count && trace->count < TRACE_FRAMES; i++) {
        /* All but the interrupted one are where a call returns to. */
        bool is_exact = context && i == first && trace->count == 0;
        add_frame(trace, (uintptr_t)addresses[i] - !is_exact);
    }
    trace->is_cut = count == TRACE_FRAMES + 8;
    if (context)
        *context = kept;
}

/* ---- lines ---- */

/* The child: print the lines of these addresses of the file into the pipe. */
static _Noreturn void resolve(char *const *args, int out)
{
    int null = open("/dev/null", O_RDWR);
    char *none[] = {NULL};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* Above the numbers that they become. */
    out = fcntl(out, F_DUPFD, 10);
    null = fcntl(null, F_DUPFD, 10);
    if (dup2(null, 0) >= 0 && dup2(out, 1) >= 0 && dup2(null, 2) >= 0 && dup2(plugin.fd, 3) >= 0)
        execve(plugin.resolver, args, none);
    _exit(127);
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* Read what the child prints, to its end or for this time; return its length. */
static size_t read_for(int fd, char *out, size_t size, int most_ms)
{
    int64_t end = now_ms() + most_ms, left;
    size_t length = 0;
    ssize_t got = 1;

    while (got != 0 && length < size && (left = end - now_ms()) > 0) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (poll(&ready, 1, (int)left) <= 0)
            continue;
        got = read(fd, out + length, size - length);
        length += got > 0 ? (size_t)got : 0;
    }
    return length;
}

/* Start the child; return the descriptor to read from, or -1. */
static int start_resolver(char *const *args, pid_t *child)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -1;
    *child = _Fork();
    if (*child == 0)
        resolve(args, ends[1]);
    close(ends[1]);
    if (*child > 0)
        return ends[0];
    close(ends[0]);
    return -1;
}

/* Set the lines of the frames, of which the child was given some, from what it printed: an address,
 * a function and a line, each on a line of its own, for each. */
static void take_lines(struct trace *trace, const bool *was_given, const char *text, size_t length)
{
    const char *end = text + length;

    for (unsigned i = 0; i < trace->count; i++) {
        const char *line = text, *next;
        size_t size;
        if (!was_given[i])
            continue;
        for (int skipped = 0; skipped < 2; skipped++) {
            next = memchr(line, '\n', (size_t)(end - line));
            if (next == NULL)
                return;
            line = next + 1;
        }
        next = memchr(line, '\n', (size_t)(end - line));
        if (next == NULL)
            return;
        text = next + 1;
        if (*line == '?' || next[-1] == '?' || (next[-1] == '0' && next[-2] == ':'))
            continue;
        size = (size_t)(next - line);
        if (memchr(line, ' ', size)) /* a discriminator */
            size = (size_t)((const char *)memchr(line, ' ', size) - line);
        if (size < sizeof trace->frames[i].line) {
            memcpy(trace->frames[i].line, line, size);
            trace->frames[i].line[size] = '\0';
        }
    }
}

void trace_find_lines(struct trace *trace, int most_ms)
{
    static char text[LINES_SIZE];
    struct jot offsets[TRACE_FRAMES];
    char *args[TRACE_FRAMES + 8] = {"addr2line", "-a", "-f", "-C", "-e", "/proc/self/fd/3"};
    bool is_given[TRACE_FRAMES] = {false};
    size_t count = 6;
    pid_t child;
    int out;

    for (unsigned i = 0; i < trace->count; i++) {
        const struct link_map *module = module_of(trace->frames[i].address);
        is_given[i] = is_plugin(module);
        if (!is_given[i])
            continue;
        offsets[i].length = 0;
        jot_hex(&offsets[i], trace->frames[i].address - module->l_addr);
        args[count++] = offsets[i].text;
    }
    if (*plugin.resolver == '\0' || plugin.fd < 0 || count == 6)
        return;
    out = start_resolver(args, &child);
    if (out < 0)
        return;
    take_lines(trace, is_given, text, read_for(out, text, sizeof text, most_ms));
    close(out);
    kill(child, SIGKILL);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* ---- telling ---- */

static void tell_frame(unsigned number, const struct trace_frame *frame, enum log_level level,
                       const char *run)
{
    const struct link_map *module = module_of(frame->address);
    const char *name = module ? symbol_of(module, frame->address) : NULL;
    struct jot jot = {.length = 0};

    jot_text(&jot, "  #");
    jot_number(&jot, number);
    jot_text(&jot, " ");
    if (module) {
        jot_text(&jot, module_name(module));
        jot_text(&jot, "+");
        jot_hex(&jot, frame->address - module->l_addr);
    } else {
        jot_hex(&jot, frame->address);
        jot_text(&jot, " where no code is");
    }
    if (name) {
        jot_text(&jot, " ");
        jot_text(&jot, name);
    }
    if (*frame->line) {
        jot_text(&jot, " (");
        jot_text(&jot, frame->line);
        jot_text(&jot, ")");
    }
    log_tell_now(level, jot.text, jot.length, run);
}

/* The function called itself from the same place. */
static void tell_repeated(unsigned last, enum log_level level, const char *run)
{
    struct jot jot = {.length = 0};

    jot_text(&jot, "  the same up to #");
    jot_number(&jot, last);
    log_tell_now(level, jot.text, jot.length, run);
}

void trace_tell(const struct trace *trace, enum log_level level, const char *run)
{
    unsigned count = trace->count;

    /* The frames below the plugin are the host's, which called it. */
    while (count > 0 && !is_plugin(module_of(trace->frames[count - 1].address)))
        count--;
    if (count == 0)
        count = trace->count;
    for (unsigned i = 0, last; i < count; i = last + 1) {
        tell_frame(i, &trace->frames[i], level, run);
        last = i;
        while (last + 1 < count && trace->frames[last + 1].address == trace->frames[i].address)
            last++;
        if (last > i)
            tell_repeated(last, level, run);
    }
    if (trace->is_cut && count == trace->count)
        log_tell_now(level, "  and more frames", strlen("  and more frames"), run);
}
