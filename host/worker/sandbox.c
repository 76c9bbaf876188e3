/*
 * In this order:
 *
 *   1. limits (setrlimit(2)), soft and hard;
 *   2. another user, with its groups; no capability is left then. Who stays the server's
 *      user gives up the right to become another;
 *   3. the Landlock rules are made, of paths that this user can reach;
 *   4. the rules hold. They make a domain of this process: even without any rule, no process
 *      outside of the domain can be traced from inside, and where the kernel can
 *      say so (Linux 6.12), none can be sent signals;
 *   5. the memory guard (base/guard.h), which a change of the user resets.
 *
 * The system calls and numbers of Landlock are written out: C libraries have no functions
 * for them, and headers are older than kernels. A kernel tells its ABI version, and
 * refuses bits that are newer:
 *
 *     version   1   2      3         4    5          6
 *     adds      -   REFER  TRUNCATE  TCP  IOCTL_DEV  scopes
 */
#include "worker/sandbox.h"

#include "base/guard.h"
#include "base/user.h"
#include "wire/frames.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- limits ---- */

static const struct limit {
    const char *name;
    __rlimit_resource_t resource;
} limits[] = {
    {"core", RLIMIT_CORE}, {"nofile", RLIMIT_NOFILE}, {"nproc", RLIMIT_NPROC},
    {"as", RLIMIT_AS},     {"fsize", RLIMIT_FSIZE},
};

static int set_limits(const struct wire_frame *frame, struct refusal *refusal)
{
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        const char *value = wire_find(frame, limits[i].name);
        rlim_t number = value ? strtoull(value, NULL, 10) : 0;
        const struct rlimit limit = {.rlim_cur = number, .rlim_max = number};
        if (value && setrlimit(limits[i].resource, &limit) < 0)
            return refuse(refusal, -errno, "confine",
                          "%s = %s is more than this process may have: %s", limits[i].name, value,
                          strerror(errno));
    }
    return 0;
}

/* ---- Landlock ---- */

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule       445
#define SYS_landlock_restrict_self  446
#endif

#define CREATE_RULESET_VERSION 1
#define RULE_PATH_BENEATH      1
#define RULE_NET_PORT          2

#define FS_EXECUTE    (UINT64_C(1) << 0)
#define FS_WRITE_FILE (UINT64_C(1) << 1)
#define FS_READ_FILE  (UINT64_C(1) << 2)
#define FS_READ_DIR   (UINT64_C(1) << 3)
#define FS_TRUNCATE   (UINT64_C(1) << 14)
#define FS_IOCTL_DEV  (UINT64_C(1) << 15)
#define FS_READ       (FS_EXECUTE | FS_READ_FILE | FS_READ_DIR)
/* The rights that a file can have; the others are a folder's. */
#define FS_OF_FILES     (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV)
#define NET_BIND_TCP    (UINT64_C(1) << 0)
#define NET_CONNECT_TCP (UINT64_C(1) << 1)
#define SCOPE_SIGNAL    (UINT64_C(1) << 1)

#define ABI_NET    4
#define ABI_SCOPED 6

struct ruleset_attr {
    uint64_t fs, net, scoped;
};

struct path_attr {
    uint64_t allowed;
    int32_t parent;
} __attribute__((packed));

struct port_attr {
    uint64_t allowed, port;
};

/* Files that the C library, libcurl and programs read; no secrets. */
static const char common_read[] =
    "/usr:/lib:/lib64:/bin:/sbin:/opt:/proc:/sys/devices/system:/etc/ld.so.cache:/etc/ld.so.conf:"
    "/etc/ld.so.conf.d:/etc/ssl/certs:/etc/ssl/openssl.cnf:/etc/pki/tls/certs:/etc/pki/ca-trust:"
    "/etc/ca-certificates:/etc/gnutls:/etc/resolv.conf:/run/systemd/resolve:/etc/hosts:"
    "/etc/host.conf:/etc/gai.conf:/etc/nsswitch.conf:/etc/services:/etc/protocols:/etc/localtime:"
    "/etc/timezone:/etc/passwd:/etc/group:/etc/mime.types:/dev/urandom:/dev/random";
static const char common_write[] = "/dev/null:/dev/zero:/dev/full";

static uint64_t fs_rights(long abi)
{
    return (UINT64_C(1) << (abi >= 5 ? 16 : abi >= 3 ? 15 : abi >= 2 ? 14 : 13)) - 1;
}

static int allow_path(int rules, const char *path, uint64_t rights)
{
    struct path_attr rule = {.allowed = rights, .parent = open(path, O_PATH | O_CLOEXEC)};
    struct stat found;
    int status = 0;

    if (rule.parent < 0)
        return -errno;
    if (fstat(rule.parent, &found) == 0 && !S_ISDIR(found.st_mode))
        rule.allowed &= FS_OF_FILES;
    if (syscall(SYS_landlock_add_rule, rules, RULE_PATH_BENEATH, &rule, 0) < 0)
        status = -errno;
    close(rule.parent);
    return status;
}

/* Allow the paths of a list with ':' between them; those that are missing are refused if it is
 * said. */
static int allow_paths(int rules, const char *list, uint64_t rights, const char *key,
                       struct refusal *refusal)
{
    char *copy = strdup(list), *rest = copy, *path;
    int status = 0;

    while (status == 0 && (path = strsep(&rest, ":"))) {
        int error = *path ? allow_path(rules, path, rights) : 0;
        if (error < 0 && key)
            status = refuse(refusal, error, "confine", "%s: %s: %s", key, path, strerror(-error));
    }
    free(copy);
    return status;
}

static int allow_ports(int rules, const char *list, struct refusal *refusal)
{
    for (const char *at = list; *(at += strspn(at, ", \t"));) {
        char *end;
        struct port_attr rule = {.allowed = NET_CONNECT_TCP, .port = strtoul(at, &end, 10)};
        if (syscall(SYS_landlock_add_rule, rules, RULE_NET_PORT, &rule, 0) < 0)
            return refuse(refusal, -errno, "confine", "sandbox_connect: %s: %s", at,
                          strerror(errno));
        at = end;
    }
    return 0;
}

static const char *text_of(const struct wire_frame *frame, const char *name)
{
    const char *text = wire_find(frame, name);

    return text ? text : "";
}

static int allow_all(int rules, long abi, const char *plugin, const struct wire_frame *frame,
                     struct refusal *refusal)
{
    uint64_t all = fs_rights(abi), read = FS_READ & all;
    int status;

    allow_paths(rules, common_read, read, NULL, refusal);
    allow_paths(rules, common_write, (FS_READ_FILE | FS_WRITE_FILE | FS_TRUNCATE) & all, NULL,
                refusal);
    allow_paths(rules, text_of(frame, "folder"), read, NULL, refusal);
    allow_path(rules, plugin, read); /* a copy in memory needs no rule and has none */
    status = allow_paths(rules, text_of(frame, "read"), read, "sandbox_read", refusal);
    if (status == 0)
        status = allow_paths(rules, text_of(frame, "write"), all & ~FS_EXECUTE & ~FS_IOCTL_DEV,
                             "sandbox_write", refusal);
    if (status == 0 && strcmp(text_of(frame, "sandbox"), "yes") == 0)
        status = allow_ports(rules, text_of(frame, "connect"), refusal);
    return status;
}

/* Make the rules. *out is their descriptor, -1 if the kernel has none and none are wanted. */
static int make_rules(const char *plugin, const struct wire_frame *frame, int *out,
                      struct refusal *refusal)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);
    const char *sandbox = text_of(frame, "sandbox");
    bool has_net = strcmp(sandbox, "yes") == 0;
    bool has_files = has_net || strcmp(sandbox, "files") == 0;
    struct ruleset_attr attr = {.fs = has_files && abi > 0 ? fs_rights(abi) : 0,
                                .net = has_net ? NET_BIND_TCP | NET_CONNECT_TCP : 0,
                                .scoped = abi >= ABI_SCOPED ? SCOPE_SIGNAL : 0};
    size_t size = abi >= ABI_SCOPED ? sizeof attr
                  : abi >= ABI_NET  ? offsetof(struct ruleset_attr, scoped)
                                    : offsetof(struct ruleset_attr, net);
    int status = 0;

    *out = -1;
    if (has_files && abi < 1)
        return refuse(refusal, -ENOSYS, "confine",
                      "sandbox = %s needs Landlock, which this kernel does not have or has turned "
                      "off; without it, write sandbox = no",
                      sandbox);
    if (has_net && abi < ABI_NET)
        return refuse(refusal, -ENOSYS, "confine",
                      "this kernel's Landlock (ABI %ld) does not know TCP ports; sandbox = files "
                      "confines files alone",
                      abi);
    if (attr.fs == 0 && attr.net == 0 && attr.scoped == 0)
        return 0;
    *out = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    if (*out < 0)
        return refuse(refusal, -errno, "confine", "Landlock: %s", strerror(errno));
    if (has_files)
        status = allow_all(*out, abi, plugin, frame, refusal);
    if (status < 0)
        close(*out);
    return status;
}

/* ---- the user ---- */

static int become(const char *name, struct refusal *refusal)
{
    struct why why = {0};
    int status = *name ? user_choose(name, &why) : 0;

    if (status == 0)
        status = user_become(false, &why);
    if (status == 0 && (status = user_stay()) < 0)
        why_set(&why, status, "capabilities are not dropped: %s", strerror(-status));
    if (status < 0)
        refuse(refusal, status, "confine", "%s", why_text(&why));
    why_finish(&why);
    return status;
}

int sandbox_enter(const struct wire_frame *frame, const char *plugin, struct refusal *refusal)
{
    int rules = -1, status;

    if (wire_find(frame, "confined") == NULL) {
        guard_set(false);
        return 0;
    }
    if ((status = set_limits(frame, refusal)) < 0 ||
        (status = become(text_of(frame, "user"), refusal)) < 0 ||
        (status = make_rules(plugin, frame, &rules, refusal)) < 0)
        return status;
    if (rules >= 0 && syscall(SYS_landlock_restrict_self, rules, 0) < 0)
        status = refuse(refusal, -errno, "confine", "Landlock: %s", strerror(errno));
    if (rules >= 0)
        close(rules);
    guard_set(strcmp(text_of(frame, "debug"), "yes") != 0);
    return status;
}
