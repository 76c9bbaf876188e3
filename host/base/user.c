/*
 * user_become() in its order:
 *
 *   1. capabilities to keep become inheritable, which the bounding set bounds;
 *   2. the bounding set is emptied: no program that this process or a descendant
 *      executes gains a capability by its file;
 *   3. groups, group and user change, in all threads: the C library sees to that. The
 *      kernel takes the capabilities of each thread but this one, which keeps them for
 *      step 4;
 *   4. all capabilities but those to keep are dropped;
 *   5. a look whether it holds: a process without capabilities must not become root.
 *
 * A user other than root loses all capabilities in execve(2), unless they are ambient. So
 * CAP_SETUID and CAP_SETGID are ambient, for the workers; CAP_KILL, for signals to
 * workers that have changed their user, is not. A worker drops what it has got before it
 * loads its plugin (worker/sandbox.c).
 *
 * Capabilities belong to threads; a new thread inherits those of its maker.
 *
 * The system calls are used without a library: a worker has every library of the host in
 * the scope in which its plugin's symbols are looked up.
 */
#include "base/user.h"

#include "base/mem.h"
#include "base/why.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BIT(capability) (UINT64_C(1) << (capability))
#define SWITCH          (BIT(CAP_SETUID) | BIT(CAP_SETGID))
#define SWITCH_AND_KILL (SWITCH | BIT(CAP_KILL))

/* Folders below the folder that is given away. */
#define GIVE_DEPTH 4

/* Whom this process becomes, or has become. */
static struct {
    char *name; /* NULL: nobody was chosen, or it is this user */
    char *home;
    uid_t uid;
    gid_t gid;
    bool became, may_switch;
} chosen;

/* ---- names ---- */

/* Look the user up. The name is to be freed; NULL if there is none. */
static char *find_user(const char *text, uid_t *uid, gid_t *gid, char **home)
{
    const char *colon = strchr(text, ':');
    char *name = mem_printf("%.*s", (int)strcspn(text, ":"), text);
    const struct passwd *user = getpwnam(name);
    const struct group *group = colon ? getgrnam(colon + 1) : NULL;

    if (user == NULL || (colon && group == NULL)) {
        free(name);
        return NULL;
    }
    *uid = user->pw_uid;
    *gid = group ? group->gr_gid : user->pw_gid;
    *home = mem_strdup(user->pw_dir);
    return name;
}

bool user_is_known(const char *text)
{
    uid_t uid;
    gid_t gid;
    char *home = NULL, *name = find_user(text, &uid, &gid, &home);
    bool is_known = name != NULL;

    free(name);
    free(home);
    return is_known;
}

/* ---- capabilities ---- */

struct capabilities {
    uint64_t effective, permitted, inheritable;
};

static int capabilities_get(struct capabilities *out)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

    if (syscall(SYS_capget, &header, data) < 0)
        return -errno;
    out->effective = data[0].effective | (uint64_t)data[1].effective << 32;
    out->permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
    out->inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32;
    return 0;
}

static int capabilities_set(const struct capabilities *set)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

    for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        data[i].effective = (uint32_t)(set->effective >> 32 * i);
        data[i].permitted = (uint32_t)(set->permitted >> 32 * i);
        data[i].inheritable = (uint32_t)(set->inheritable >> 32 * i);
    }
    return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static bool may_change_user(void)
{
    struct capabilities now;

    return capabilities_get(&now) == 0 && (now.effective & SWITCH) == SWITCH;
}

/* Steps 1 and 2. Root of a container may have no right to step 2, which then stays undone. */
static int bound_capabilities(uint64_t kept)
{
    struct capabilities now;
    int status = capabilities_get(&now);

    now.inheritable = kept & SWITCH;
    if (status < 0 || (kept & ~now.permitted) || (kept && (status = capabilities_set(&now)) < 0))
        return status < 0 ? status : -EPERM;
    for (int i = 0; prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++)
        prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
    return prctl(PR_SET_KEEPCAPS, kept != 0, 0, 0, 0) < 0 ? -errno : 0;
}

/* Step 4. No capability stays ambient that is not inheritable and permitted. */
static int keep_capabilities(uint64_t kept)
{
    const struct capabilities set = {kept, kept, kept & SWITCH};
    int status;

    prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
    status = capabilities_set(&set);
    for (int i = 0; status == 0 && i <= CAP_LAST_CAP; i++) {
        if ((set.inheritable & BIT(i)) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0) < 0)
            status = -errno;
    }
    return status;
}

/* ---- giving ---- */

static int give(int folder, const char *name, unsigned depth)
{
    int fd = openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC), status = 0, inner;
    const struct dirent *entry;
    struct stat found;
    DIR *list = NULL;

    if (fd < 0 || fstat(fd, &found) < 0) {
        status = -errno;
    } else if (found.st_uid != 0 || (!S_ISDIR(found.st_mode) && found.st_nlink != 1)) {
        close(fd);
        return 0;
    }
    /* Its entries first: while it is root's, nobody else puts any there. */
    if (status == 0 && S_ISDIR(found.st_mode) && depth > 0) {
        inner = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        list = inner < 0 ? NULL : fdopendir(inner);
    }
    while (list && (entry = readdir(list))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            give(dirfd(list), entry->d_name, depth - 1);
    }
    if (list)
        closedir(list);
    if (status == 0 && fchownat(fd, "", chosen.uid, chosen.gid, AT_EMPTY_PATH) < 0)
        status = -errno;
    if (fd >= 0)
        close(fd);
    return status;
}

int user_give(const char *path)
{
    return chosen.name ? give(AT_FDCWD, path, 0) : 0;
}

int user_give_folder(const char *path)
{
    return chosen.name ? give(AT_FDCWD, path, GIVE_DEPTH) : 0;
}

/* ---- becoming ---- */

int user_choose(const char *text, struct why *why)
{
    uid_t uid;
    gid_t gid;
    char *home = NULL, *name = find_user(text, &uid, &gid, &home);
    int status = 0;

    if (name == NULL)
        return why_set(why, -ENOENT, "user = %s: there is no such user or group", text);
    if (uid == getuid() && uid == geteuid() && (strchr(text, ':') == NULL || gid == getegid())) {
        free(name);
        free(home);
        return 0;
    }
    if (!may_change_user())
        status = why_set(why, -EPERM,
                         "user = %s: this process is user %u and may not become another one; "
                         "the server must be started by root for that",
                         text, (unsigned)geteuid());
    else if (uid == 0)
        status = why_set(why, -EPERM, "user = %s: no process of the server becomes root", text);
    if (status < 0) {
        free(name);
        free(home);
        return status;
    }
    free(chosen.name);
    free(chosen.home);
    chosen.name = name;
    chosen.home = home;
    chosen.uid = uid;
    chosen.gid = gid;
    return 0;
}

/* Step 3. */
static int change_ids(void)
{
    return initgroups(chosen.name, chosen.gid) < 0 ||
                   setresgid(chosen.gid, chosen.gid, chosen.gid) < 0 ||
                   setresuid(chosen.uid, chosen.uid, chosen.uid) < 0
               ? -errno
               : 0;
}

/* Step 5. */
static bool is_for_good(uint64_t kept)
{
    uid_t real, effective, saved;
    gid_t group, effective_group, saved_group;

    if (getresuid(&real, &effective, &saved) < 0 ||
        getresgid(&group, &effective_group, &saved_group) < 0 || real != chosen.uid ||
        effective != chosen.uid || saved != chosen.uid || group != chosen.gid ||
        effective_group != chosen.gid || saved_group != chosen.gid)
        return false;
    return kept || chosen.uid == 0 || setresuid((uid_t)-1, 0, (uid_t)-1) < 0;
}

int user_become(bool may_switch, struct why *why)
{
    uint64_t kept = may_switch ? SWITCH_AND_KILL : 0;
    int status, ends_with = 0;

    if (chosen.name == NULL)
        return 0;
    prctl(PR_GET_PDEATHSIG, &ends_with);
    if ((status = bound_capabilities(kept)) < 0)
        return why_set(why, status,
                       "user = %s: cannot keep the capabilities SETUID, SETGID and KILL, which "
                       "plugins with users of their own need: %s",
                       chosen.name, strerror(-status));
    if ((status = change_ids()) < 0 || (status = keep_capabilities(kept)) < 0)
        return why_set(why, status, "user = %s: %s", chosen.name, strerror(-status));
    if (!is_for_good(kept))
        return why_set(why, -EPERM, "user = %s: the change does not hold", chosen.name);
    setenv("HOME", chosen.home, 1);
    setenv("USER", chosen.name, 1);
    setenv("LOGNAME", chosen.name, 1);
    prctl(PR_SET_PDEATHSIG, ends_with); /* which the change has cleared */
    chosen.became = true;
    chosen.may_switch = may_switch;
    return 0;
}

int user_stay(void)
{
    struct capabilities now;
    int status = geteuid() == 0 ? 0 : capabilities_get(&now);

    if (status < 0 || geteuid() == 0)
        return status;
    now.effective &= ~SWITCH;
    now.permitted &= ~SWITCH;
    now.inheritable &= ~SWITCH;
    return capabilities_set(&now);
}

bool user_may_switch(void)
{
    return geteuid() == 0 || chosen.may_switch;
}

const char *user_became(void)
{
    return chosen.became ? chosen.name : NULL;
}

uid_t user_self(void)
{
    return chosen.name ? chosen.uid : geteuid();
}
