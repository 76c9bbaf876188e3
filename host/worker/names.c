/*
 * Only what the dynamic linker has bound counts, so the relocations are what is read: of the
 * plugin, and of all that was mapped with it. For the name of each:
 *
 *   1. where is it found first?  In the global scope, which is the program, what it was linked
 *      with and what is preloaded: dlsym(RTLD_DEFAULT) here.
 *   2. where would it be found without the global scope?  In the plugin's own scope, which is the
 *      plugin and all that it needs: dlsym() with the plugin's handle.
 *   3. two different objects: the first has replaced the second.
 *
 * A library that both were linked with is one object, so nothing of it is replaced. Versions of
 * symbols are looked up as the dynamic linker does.
 *
 * Names that are meant to be replaced are not told. Their definitions are weak (inline
 * functions of C++ and their like) or unique in the process; or they allocate memory, which
 * works only if all use the same functions; or the libraries of compilers and sanitizers
 * define them.
 *
 * The tables are those in memory. The dynamic linker has adjusted most addresses in them, on some
 * architectures none.
 */
#include "worker/names.h"

#include "base/mem.h"

#include <dlfcn.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#if __SIZEOF_POINTER__ == 8
#define RELOCATION_SYMBOL(info) ELF64_R_SYM(info)
#define SYMBOL_BIND(info)       ELF64_ST_BIND(info)
#define SYMBOL_TYPE(info)       ELF64_ST_TYPE(info)
#else
#define RELOCATION_SYMBOL(info) ELF32_R_SYM(info)
#define SYMBOL_BIND(info)       ELF32_ST_BIND(info)
#define SYMBOL_TYPE(info)       ELF32_ST_TYPE(info)
#endif

#define VERSION_HIDDEN 0x8000

/* The tables of a mapped object; NULL for those that it does not have. */
struct object {
    const struct link_map *map;
    const char *strings;
    const ElfW(Sym) * symbols;
    const ElfW(Half) * versions;
    const ElfW(Verneed) * needed;
    const ElfW(Verdef) * defined;
    const char *rela, *rel, *plt;
    size_t rela_size, rel_size, plt_size;
    bool plt_is_rela;
    bool is_symbolic; /* finds its own definitions first */
};

struct seen {
    char *name;
    UT_hash_handle hh;
};

struct names {
    void *plugin; /* its handle */
    const struct link_map *plugin_map;
    const char *file;
    struct seen *seen; /* uthash: names that were looked at */
    size_t count;
};

/* ---- an object's tables ---- */

static const void *address_of(const struct link_map *map, const ElfW(Dyn) * entry)
{
    return (const void *)(entry->d_un.d_ptr < map->l_addr ? map->l_addr + entry->d_un.d_ptr
                                                          : entry->d_un.d_ptr);
}

static void object_read(struct object *object, const struct link_map *map)
{
    *object = (struct object){.map = map};
    for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++) {
        const void *address = address_of(map, entry);

        switch (entry->d_tag) {
        case DT_STRTAB:
            object->strings = address;
            break;
        case DT_SYMTAB:
            object->symbols = address;
            break;
        case DT_VERSYM:
            object->versions = address;
            break;
        case DT_VERNEED:
            object->needed = address;
            break;
        case DT_VERDEF:
            object->defined = address;
            break;
        case DT_RELA:
            object->rela = address;
            break;
        case DT_RELASZ:
            object->rela_size = entry->d_un.d_val;
            break;
        case DT_REL:
            object->rel = address;
            break;
        case DT_RELSZ:
            object->rel_size = entry->d_un.d_val;
            break;
        case DT_JMPREL:
            object->plt = address;
            break;
        case DT_PLTRELSZ:
            object->plt_size = entry->d_un.d_val;
            break;
        case DT_PLTREL:
            object->plt_is_rela = entry->d_un.d_val == DT_RELA;
            break;
        case DT_SYMBOLIC:
            object->is_symbolic = true;
            break;
        case DT_FLAGS:
            object->is_symbolic |= (entry->d_un.d_val & DF_SYMBOLIC) != 0;
            break;
        default:
            break;
        }
    }
}

/* Return the name of this version, or NULL. */
static const char *version_name(const struct object *object, unsigned number)
{
    const char *at = (const char *)object->needed;

    while (at) {
        const ElfW(Verneed) *needed = (const void *)at;
        const char *one = at + needed->vn_aux;
        for (unsigned i = 0; i < needed->vn_cnt; i++) {
            const ElfW(Vernaux) *aux = (const void *)one;
            if ((aux->vna_other & ~VERSION_HIDDEN) == number)
                return object->strings + aux->vna_name;
            one += aux->vna_next;
        }
        at = needed->vn_next ? at + needed->vn_next : NULL;
    }
    at = (const char *)object->defined;
    while (at) {
        const ElfW(Verdef) *defined = (const void *)at;
        if (defined->vd_ndx == number && !(defined->vd_flags & VER_FLG_BASE))
            return object->strings + ((const ElfW(Verdaux) *)(at + defined->vd_aux))->vda_name;
        at = defined->vd_next ? at + defined->vd_next : NULL;
    }
    return NULL;
}

static const char *symbol_version(const struct object *object, size_t symbol)
{
    unsigned number =
        object->versions ? object->versions[symbol] & ~VERSION_HIDDEN : VER_NDX_GLOBAL;

    return number > VER_NDX_GLOBAL ? version_name(object, number) : NULL;
}

/* ---- what is found where ---- */

/* Return the object in which this scope has the name, or NULL; *symbol is its symbol there, NULL
 * if that cannot be told. */
static const struct link_map *find(void *scope, const char *name, const char *version,
                                   const ElfW(Sym) * *symbol)
{
    void *address = version ? dlvsym(scope, name, version) : dlsym(scope, name);
    struct link_map *map = NULL;
    void *entry = NULL;
    Dl_info info;

    if (address == NULL || dladdr1(address, &info, (void **)&map, RTLD_DL_LINKMAP) == 0)
        return NULL;
    if (dladdr1(address, &info, &entry, RTLD_DL_SYMENT) == 0 || info.dli_sname == NULL ||
        strcmp(info.dli_sname, name) != 0)
        entry = NULL;
    *symbol = entry;
    return map;
}

static bool is_weak(const ElfW(Sym) * symbol)
{
    return SYMBOL_BIND(symbol->st_info) == STB_WEAK ||
           SYMBOL_BIND(symbol->st_info) == STB_GNU_UNIQUE;
}

static bool begins_with_one(const char *text, const char *const *words)
{
    for (; *words; words++) {
        if (strncmp(text, *words, strlen(*words)) == 0)
            return true;
    }
    return false;
}

static bool is_allocation(const char *name)
{
    static const char *const functions[] = {"malloc",
                                            "calloc",
                                            "realloc",
                                            "reallocarray",
                                            "free",
                                            "aligned_alloc",
                                            "posix_memalign",
                                            "memalign",
                                            "valloc",
                                            "pvalloc",
                                            "malloc_usable_size",
                                            "cfree",
                                            NULL};
    static const char *const operators[] = {"_Znw", "_Zna", "_Zdl", "_Zda", NULL};

    for (size_t i = 0; functions[i]; i++) {
        if (strcmp(name, functions[i]) == 0)
            return true;
    }
    return begins_with_one(name, operators);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* Return true if the object is one of the system's, or of the compiler's. */
static bool is_runtime(const struct link_map *map)
{
    static const char *const names[] = {"libc.so.",  "libm.so.",    "libpthread.so.", "libdl.so.",
                                        "librt.so.", "libmvec.so.", "libstdc++.",     "libgcc_s.",
                                        "libc++",    "libunwind.",  "libasan.",       "libtsan.",
                                        "libubsan.", "liblsan.",    "libhwasan.",     "libclang_rt",
                                        "ld-",       "libatomic.",  "libgfortran.",   "libgomp.",
                                        NULL};

    return begins_with_one(base_name(map->l_name), names);
}

/* ---- the walk ---- */

static const char *map_name(const struct names *names, const struct link_map *map)
{
    if (map == names->plugin_map)
        return base_name(names->file);
    return *map->l_name ? base_name(map->l_name) : "sluice";
}

static void tell(struct names *names, const char *name, const struct link_map *ours,
                 const struct link_map *host)
{
    if (++names->count > NAMES_TOLD_MAX)
        return;
    fprintf(stderr, "sluice: warning: %s of %s is replaced by the host's %s: %s\n", name,
            map_name(names, ours), map_name(names, host),
            ours == names->plugin_map
                ? "link with `pkg-config --libs sluice`"
                : "link that library statically, with `pkg-config --libs sluice`");
}

static void take_symbol(struct names *names, const struct object *object, size_t number)
{
    const ElfW(Sym) *symbol = &object->symbols[number], *own = NULL, *other = NULL;
    const char *name = object->strings + symbol->st_name;
    const char *version;
    const struct link_map *ours, *host;
    bool is_defined = symbol->st_shndx != SHN_UNDEF;
    struct seen *seen;

    if (*name == '\0' || SYMBOL_BIND(symbol->st_info) == STB_LOCAL ||
        SYMBOL_TYPE(symbol->st_info) == STT_TLS || is_allocation(name) ||
        (is_defined && (object->is_symbolic || is_weak(symbol) ||
                        ELF64_ST_VISIBILITY(symbol->st_other) != STV_DEFAULT)))
        return;
    HASH_FIND_STR(names->seen, name, seen);
    if (seen)
        return;
    seen = mem_alloc(sizeof *seen);
    seen->name = mem_strdup(name);
    HASH_ADD_KEYPTR(hh, names->seen, seen->name, strlen(seen->name), seen);
    version = symbol_version(object, number);
    ours = find(names->plugin, name, version, &own);
    host = ours && !is_runtime(ours) ? find(RTLD_DEFAULT, name, version, &other) : NULL;
    if (host && host != ours && !(own && is_weak(own)))
        tell(names, name, ours, host);
}

static void take_relocations(struct names *names, const struct object *object, const char *table,
                             size_t size, bool is_rela)
{
    size_t step = is_rela ? sizeof(ElfW(Rela)) : sizeof(ElfW(Rel));

    if (table == NULL || object->symbols == NULL || object->strings == NULL)
        return;
    for (size_t at = 0; at + step <= size; at += step) {
        size_t symbol = RELOCATION_SYMBOL(((const ElfW(Rel) *)(table + at))->r_info);
        if (symbol > 0)
            take_symbol(names, object, symbol);
    }
}

size_t names_tell_replaced(const char *path, const char *file)
{
    struct names names = {.plugin = dlopen(path, RTLD_NOW | RTLD_NOLOAD), .file = file};
    const struct link_map *map = NULL;
    struct seen *seen, *next;
    struct object object;

    if (names.plugin == NULL || dlinfo(names.plugin, RTLD_DI_LINKMAP, (void *)&map) < 0)
        return 0;
    names.plugin_map = map;
    /* The plugin's libraries were mapped after it. */
    for (; map; map = map->l_next) {
        object_read(&object, map);
        take_relocations(&names, &object, object.rela, object.rela_size, true);
        take_relocations(&names, &object, object.rel, object.rel_size, false);
        take_relocations(&names, &object, object.plt, object.plt_size, object.plt_is_rela);
    }
    if (names.count > NAMES_TOLD_MAX)
        fprintf(stderr, "sluice: warning: so are %zu more names of %s and its libraries\n",
                names.count - NAMES_TOLD_MAX, base_name(file));
    HASH_ITER(hh, names.seen, seen, next)
    {
        HASH_DEL(names.seen, seen);
        free(seen->name);
        free(seen);
    }
    dlclose(names.plugin);
    return names.count;
}
