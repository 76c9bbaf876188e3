/* list, reload, rollback, drain: each sends one question to a running server's admin socket. */
#include "cli/cli.h"

#include "base/mem.h"
#include "base/why.h"
#include "ops/admin.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKET_USAGE                                                                    \
    "  -c, --config FILE       the server's configuration, whose host.admin is asked\n" \
    "      --admin PATH        the server's socket\n"                                   \
    "  -h, --help              print this\n"

static const char list_usage[] =
    "usage: sluice list [OPTION]...\n"
    "\n"
    "Shows each plugin of the running server, its generations and their workers.\n"
    "\n"
    "      --json              print all there is as JSON\n" SOCKET_USAGE;

static const char reload_usage[] =
    "usage: sluice reload [OPTION]... [NAME]\n"
    "\n"
    "Swaps the plugin NAME for its file as it is now, and waits until the new\n"
    "generation serves. Without NAME, reads the configuration again, says which\n"
    "settings changed, and swaps what has changed. Exit status 1 and the reason if\n"
    "the new one is refused; the old one serves on then. Exit status 3 if settings\n"
    "changed that need a restart of the server.\n"
    "\n" SOCKET_USAGE;

static const char rollback_usage[] =
    "usage: sluice rollback [OPTION]... NAME [GENERATION]\n"
    "\n"
    "Swaps the plugin NAME for the version before the one that serves, or for the\n"
    "version that GENERATION served; neither needs its file. The plugin stays with\n"
    "it, also when the server starts again, until it is reloaded or a new file is\n"
    "put into the folder.\n"
    "\n" SOCKET_USAGE;

static const char drain_usage[] =
    "usage: sluice drain [OPTION]... NAME\n"
    "\n"
    "The plugin NAME takes no more runs until it is reloaded; live ones may finish.\n"
    "\n" SOCKET_USAGE;

/* Exit status of reload: done, but some settings change only at the next start. */
#define NEEDS_RESTART 3

struct question {
    const char *socket;     /* of --admin; NULL if not given */
    const char *config;     /* of -c; NULL if not given */
    const char *name;       /* NULL for none */
    const char *generation; /* NULL for none */
    bool json;
};

/* ---- the socket ---- */

/* Connect, and return the descriptor and the server's credentials; -errno. */
static int connect_to(const char *path, struct ucred *peer)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t length = sizeof *peer;
    int fd, status;

    if (strlen(path) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &length) < 0) {
        status = -errno;
        close(fd);
        return status;
    }
    return fd;
}

/* Return the owner of the socket's folder. */
static uid_t folder_owner(const char *path)
{
    char *folder = mem_strdup(path);
    char *slash = strrchr(folder, '/');
    struct stat found;
    uid_t owner = geteuid();

    if (slash)
        slash[slash == folder] = '\0';
    if (stat(slash ? folder : ".", &found) == 0)
        owner = found.st_uid;
    free(folder);
    return owner;
}

/* Connect to the server that its operator has named. */
static int open_named(const char *path)
{
    struct ucred peer;
    int fd = connect_to(path, &peer);

    if (fd < 0) {
        fprintf(stderr, "sluice: no server answers at %s: %s; name its socket with --admin\n", path,
                fd == -ENAMETOOLONG ? "the path is too long" : strerror(-fd));
    } else if (peer.uid != 0 && peer.uid != geteuid() && peer.uid != folder_owner(path)) {
        fprintf(
            stderr,
            "sluice: who answers at %s is not believed: it runs as user %u, who is neither root, "
            "nor you, nor the owner of the folder\n",
            path, (unsigned)peer.uid);
        close(fd);
        fd = -EPERM;
    }
    return fd;
}

static int is_socket(const struct dirent *entry)
{
    return fnmatch("admin*.sock", entry->d_name, 0) == 0;
}

/* The servers that answer at default paths. */
struct search {
    int fd; /* of the first; -1 for none */
    unsigned count;
    struct buf paths; /* of all, with their pids, for people */
};

static void search_folder(struct search *search, const char *folder)
{
    struct dirent **found;
    uid_t owner;
    int count =
        admin_folder_check(folder, &owner) < 0 ? 0 : scandir(folder, &found, is_socket, alphasort);

    for (int i = 0; i < count; i++) {
        char *path = mem_printf("%s/%s", folder, found[i]->d_name);
        struct ucred peer;
        int fd = connect_to(path, &peer);

        if (fd >= 0 && (peer.uid == 0 || peer.uid == geteuid() || peer.uid == owner)) {
            buf_printf(&search->paths, "  --admin %s   (pid %d)\n", path, (int)peer.pid);
            if (search->count++ == 0)
                search->fd = fd;
        }
        if (fd >= 0 && fd != search->fd)
            close(fd);
        free(path);
        free(found[i]);
    }
    if (count > 0)
        free(found);
}

/* Connect to the only server that there is; with several, guess none. */
static int open_default(void)
{
    char folders[ADMIN_FOLDERS][ADMIN_FOLDER_MAX];
    unsigned count = admin_folders(folders);
    struct search search = {.fd = -1};

    for (unsigned i = 0; i < count; i++)
        search_folder(&search, folders[i]);
    if (search.count == 0) {
        fprintf(stderr, "sluice: no server answers at");
        for (unsigned i = 0; i < count; i++)
            fprintf(stderr, "%s %s/admin.sock", i ? "," : "", folders[i]);
        fprintf(stderr, "; name its socket with --admin, or its configuration with -c\n");
    } else if (search.count > 1) {
        fprintf(stderr, "sluice: %u servers answer; name one:\n%.*s", search.count,
                (int)buf_length(&search.paths), buf_data(&search.paths));
        close(search.fd);
        search.fd = -1;
    }
    buf_finish(&search.paths);
    return search.fd;
}

/* Connect to the server of --admin, else of -c, else to the only server. */
static int open_socket(const struct question *question)
{
    struct config *config = config_create();
    struct why why = {0};
    int fd = -1;

    if (question->socket)
        fd = open_named(question->socket);
    else if (question->config && config_read(config, question->config, &why) < 0)
        fprintf(stderr, "sluice: %s\n", why_text(&why));
    else if (strcmp(config->admin, CONFIG_AUTO) != 0)
        fd = open_named(config->admin);
    else
        fd = open_default();
    why_finish(&why);
    config_destroy(config);
    return fd;
}

/* Return the answer, or NULL. */
static cJSON *ask(int fd, const char *command, const char *name, const char *generation)
{
    cJSON *question = cJSON_CreateObject(), *answer;
    struct buf got = {0};
    ssize_t length = 1;
    char *text;

    cJSON_AddStringToObject(question, "command", command);
    if (name)
        cJSON_AddStringToObject(question, "name", name);
    if (generation)
        cJSON_AddNumberToObject(question, "generation", strtod(generation, NULL));
    text = cJSON_PrintUnformatted(question);
    dprintf(fd, "%s\n", text);
    cJSON_free(text);
    cJSON_Delete(question);
    while (length > 0) {
        length = read(fd, buf_reserve(&got, 65536), 65536);
        if (length > 0)
            buf_commit(&got, (size_t)length);
    }
    text = buf_steal(&got);
    answer = cJSON_Parse(text);
    free(text);
    return answer;
}

/* ---- list ---- */

/* Return a member's text with control bytes masked: plugins choose names, terminals obey them. */
static const char *text_of(const cJSON *json, const char *name)
{
    char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));

    for (char *at = text; at && *at; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?';
    }
    return text ? text : "-";
}

static double number_of(const cJSON *json, const char *name)
{
    const cJSON *number = cJSON_GetObjectItemCaseSensitive(json, name);

    return cJSON_IsNumber(number) ? number->valuedouble : 0;
}

/* Say which runs hold a worker that drains, and for how long they may. */
static void print_drain(const cJSON *worker)
{
    const cJSON *runs = cJSON_GetObjectItemCaseSensitive(worker, "runs"), *run;

    if (cJSON_GetArraySize(runs) == 0)
        return;
    printf("    held by:");
    cJSON_ArrayForEach(run, runs)
        printf(" %s", cJSON_GetStringValue(run) ? cJSON_GetStringValue(run) : "-");
    printf("%s", number_of(worker, "live_runs") > cJSON_GetArraySize(runs) ? " ..." : "");
    if (cJSON_HasObjectItem(worker, "drain_left_s"))
        printf("; they end at the drain deadline in %.0f s", number_of(worker, "drain_left_s"));
    printf("\n");
}

static void print_worker(const cJSON *plugin, const cJSON *generation, const cJSON *worker)
{
    printf("%-16s %-10s %4.0f  %-10s %7.0f %6.0f %8.0f %7.1fM %6.0fs\n", text_of(plugin, "name"),
           text_of(generation, "version"), number_of(generation, "generation"),
           text_of(worker, "state"), number_of(worker, "pid"), number_of(worker, "live_runs"),
           number_of(generation, "restarts"), number_of(worker, "memory") / 1048576,
           number_of(worker, "age_s"));
    print_drain(worker);
}

static void print_generation(const cJSON *plugin, const cJSON *generation)
{
    const cJSON *workers = cJSON_GetObjectItemCaseSensitive(generation, "workers"), *worker;

    cJSON_ArrayForEach(worker, workers)
        print_worker(plugin, generation, worker);
    if (cJSON_GetArraySize(workers) == 0)
        printf("%-16s %-10s %4.0f  %-10s %7s %6s %8.0f %8s %6.0fs\n", text_of(plugin, "name"),
               text_of(generation, "version"), number_of(generation, "generation"),
               text_of(generation, "state"), "-", "-", number_of(generation, "restarts"), "-",
               number_of(generation, "age_s"));
    if (number_of(generation, "refused") > 0)
        printf("    %.0f calls of the plugin were refused; the log says which and why\n",
               number_of(generation, "refused"));
}

static void print_plugin(const cJSON *plugin)
{
    const cJSON *generations = cJSON_GetObjectItemCaseSensitive(plugin, "generations");
    const cJSON *generation;

    cJSON_ArrayForEach(generation, generations)
        print_generation(plugin, generation);
    if (cJSON_GetArraySize(generations) == 0)
        printf("%-16s %-10s %4s  %-10s\n", text_of(plugin, "name"), "-", "-",
               text_of(plugin, "state"));
    if (cJSON_HasObjectItem(plugin, "pinned"))
        printf("    pinned to the version of generation %.0f by a rollback\n",
               number_of(plugin, "pinned"));
    if (cJSON_HasObjectItem(plugin, "last_error"))
        printf("    last error: %s\n", text_of(plugin, "last_error"));
}

/* Say how changes of the plugin folder are noticed. */
static void print_folder(const cJSON *folder)
{
    printf("folder %s: %s\n", text_of(folder, "path"), text_of(folder, "changes"));
    if (cJSON_HasObjectItem(folder, "trouble"))
        printf("    trouble: %s\n", text_of(folder, "trouble"));
}

static void print_list(const cJSON *answer, bool json)
{
    const cJSON *plugins = cJSON_GetObjectItemCaseSensitive(answer, "plugins"), *plugin, *server;

    if (json) {
        char *text = cJSON_Print(answer);
        puts(text);
        cJSON_free(text);
        return;
    }
    server = cJSON_GetObjectItemCaseSensitive(answer, "server");
    printf("server pid %.0f, listening on %s, plugins in %s\n", number_of(server, "pid"),
           text_of(server, "listen"), text_of(server, "plugins"));
    printf("%-16s %-10s %4s  %-10s %7s %6s %8s %8s %7s\n", "PLUGIN", "VERSION", "GEN", "STATE",
           "PID", "RUNS", "RESTARTS", "MEMORY", "AGE");
    cJSON_ArrayForEach(plugin, plugins)
        print_plugin(plugin);
    print_folder(cJSON_GetObjectItemCaseSensitive(answer, "folder"));
}

/* ---- reload ---- */

static void print_keys(const cJSON *changes, const char *name, const char *words)
{
    const cJSON *key;

    cJSON_ArrayForEach(key, cJSON_GetObjectItemCaseSensitive(changes, name))
        printf("%s %s\n", words, cJSON_IsString(key) ? key->valuestring : "?");
}

/* Return true if the server must start again for something. */
static bool print_changes(const cJSON *answer)
{
    const cJSON *changes = cJSON_GetObjectItemCaseSensitive(answer, "configuration");
    const cJSON *warning;

    print_keys(changes, "applied", "applied:        ");
    print_keys(changes, "restart", "needs a restart:");
    cJSON_ArrayForEach(warning, cJSON_GetObjectItemCaseSensitive(changes, "warnings"))
        fprintf(stderr, "sluice: warning: %s\n",
                cJSON_IsString(warning) ? warning->valuestring : "?");
    return cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(changes, "restart")) > 0;
}

/* ---- the commands ---- */

/* Return false if the command must exit with the status at once. */
static bool read_question(int argc, char **argv, const char *usage, struct question *question,
                          int *status)
{
    static const struct option options[] = {{"admin", required_argument, NULL, 'a'},
                                            {"config", required_argument, NULL, 'c'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    int code;

    while ((code = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        if (code == 'h') {
            fputs(usage, stdout);
            *status = 0;
            return false;
        }
        if (code == '?') {
            *status = cli_misused(argv[0]);
            return false;
        }
        if (code == 'a')
            question->socket = optarg;
        if (code == 'c')
            question->config = optarg;
        question->json |= code == 'j';
    }
    question->name = argv[optind];
    question->generation = question->name ? argv[optind + 1] : NULL;
    return true;
}

static int put_question(const char *command, const struct question *question)
{
    int fd = open_socket(question);
    cJSON *answer = fd < 0 ? NULL : ask(fd, command, question->name, question->generation);
    bool ok = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(answer, "ok"));
    bool needs_restart = print_changes(answer);

    if (ok && strcmp(command, "list") == 0)
        print_list(answer, question->json);
    else if (ok && cJSON_HasObjectItem(answer, "note"))
        fprintf(stderr, "sluice: warning: %s\n", text_of(answer, "note"));
    else if (fd >= 0 && !ok)
        fprintf(stderr, "sluice: %s\n", answer ? text_of(answer, "error") : "the server is gone");
    cJSON_Delete(answer);
    if (fd >= 0)
        close(fd);
    return !ok ? 1 : needs_restart ? NEEDS_RESTART : 0;
}

/* names: the number of names to take, 0, 1, or -1 for at most one; 2: a name, and perhaps a number.
 */
static int command(int argc, char **argv, const char *usage, int names)
{
    struct question question = {0};
    int status, given;

    if (!read_question(argc, argv, usage, &question, &status))
        return status;
    signal(SIGPIPE, SIG_IGN); /* a write to a server that has closed fails with words */
    given = argc - optind;
    if (names == 2 && given == 2 &&
        strspn(argv[optind + 1], "0123456789") != strlen(argv[optind + 1])) {
        fprintf(stderr, "sluice %s: '%s' is not the number of a generation\n", argv[0],
                argv[optind + 1]);
        return cli_misused(argv[0]);
    }
    if (given > (names == 2 ? 2 : 1) || (names >= 0 && names < 2 && given != names) ||
        (names == 2 && given == 0)) {
        fprintf(stderr, "sluice %s: %s\n", argv[0],
                names == 0 ? "takes no name" : "wants one NAME");
        return cli_misused(argv[0]);
    }
    if (strcmp(argv[0], "reload") == 0 && given == 0)
        return put_question("refresh", &question);
    return put_question(argv[0], &question);
}

int cli_list(int argc, char **argv)
{
    return command(argc, argv, list_usage, 0);
}

int cli_reload(int argc, char **argv)
{
    return command(argc, argv, reload_usage, -1);
}

int cli_rollback(int argc, char **argv)
{
    return command(argc, argv, rollback_usage, 2);
}

int cli_drain(int argc, char **argv)
{
    return command(argc, argv, drain_usage, 1);
}
