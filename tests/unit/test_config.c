#include "../case.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/why.h"
#include "config/config.h"
#include "config/ini.h"
#include "config/setting.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file in the folder of the group: messages name it without a path. */
#define FILE_NAME "sluice.ini"

#define HOST_KEYS                                                                           \
    "keys are listen, socket_mode, trusted_proxies, proxy_protocol, plugins, max_headers, " \
    "max_body, max_connections, "                                                           \
    "max_connections_per_address, max_runs, max_runs_per_client, connection_timeout, "      \
    "request_timeout, heartbeat, stall, "                                                   \
    "log_size, log_budget, retention, start_timeout, drain_delay, "                         \
    "shutdown_timeout, stuck_timeout, drain_timeout, max_generations, log_level, "          \
    "log_format, admin, user, debug, strict_modes, state_folder, forward_headers, tokens, " \
    "allow_anonymous, "                                                                     \
    "allowed_hosts, public_url, default_agent, cors_origins, tls_certificate, tls_key"

static struct config *config;
static struct why why;

static void setup(void)
{
    config = config_create();
    why_set(&why, 0, "untouched");
}

static void teardown(void)
{
    config_destroy(config);
    why_finish(&why);
    unlink(FILE_NAME);
}

static void file_write(const void *data, size_t length)
{
    FILE *file = fopen(FILE_NAME, "w");

    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(data, 1, length, file), length);
    ck_assert_int_eq(fclose(file), 0);
}

static int read_bytes(const void *data, size_t length)
{
    file_write(data, length);
    return config_read(config, FILE_NAME, &why);
}

static void expect_read(const char *text)
{
    int status = read_bytes(text, strlen(text));
    ck_assert_msg(status == 0, "%s", why_text(&why));
    ck_assert_str_eq(why_text(&why), "untouched");
}

static void expect_refusal(const char *text, const char *message)
{
    ck_assert_int_eq(read_bytes(text, strlen(text)), -EINVAL);
    ck_assert_str_eq(why_text(&why), message);
}

static void set(const char *assignment)
{
    int status = config_set(config, assignment, &why);
    ck_assert_msg(status == 0, "%s", why_text(&why));
}

static void expect_set_refusal(const char *assignment, const char *message)
{
    ck_assert_int_eq(config_set(config, assignment, &why), -EINVAL);
    ck_assert_str_eq(why_text(&why), message);
}

static void expect_json(const char *plugin, const char *json)
{
    char *text = config_plugin_json(config, plugin);
    ck_assert_str_eq(text, json);
    free(text);
}

static const char *first_value(const char *plugin)
{
    return config_plugin(config, plugin)->pairs->value;
}

/* Return "[plugin p]" with k = x…x, of `length` x; the caller frees the text. */
static char *long_value(size_t length, const char *tail)
{
    static const char head[] = "[plugin p]\nk = ";
    char *text = malloc(sizeof head + length + strlen(tail));

    strcpy(text, head);
    memset(text + strlen(head), 'x', length);
    strcpy(text + strlen(head) + length, tail);
    return text;
}

/* ---- accepted files ---- */

#define FIXTURE                                                                          \
    .setup_once = case_folder_make, .teardown_once = case_folder_remove, .setup = setup, \
    .teardown = teardown

CASES("accepted", FIXTURE);

CASE(defaults)
{
    ck_assert_str_eq(config->listen, "127.0.0.1:8080");
    ck_assert_str_eq(config->plugins, SLUICE_PLUGIN_DIR);
    ck_assert_uint_eq(config->max_headers, 8192);
    ck_assert_uint_eq(config->max_body, 1048576);
    ck_assert_uint_eq(config->max_connections, 16384);
    ck_assert_uint_eq(config->max_runs, 16384);
    ck_assert_uint_eq(config->connection_timeout, 30);
    ck_assert_uint_eq(config->heartbeat, 15);
    ck_assert_uint_eq(config->start_timeout, 10);
    ck_assert_uint_eq(config->drain_delay, 0);
    ck_assert_uint_eq(config->shutdown_timeout, 30);
    ck_assert_str_eq(config->forward_headers, "");
    ck_assert_ptr_null(config->sections);
}

CASE(defaults_of_access)
{
    ck_assert_str_eq(config->tokens, "");
    ck_assert(!config->allow_anonymous);
    ck_assert_str_eq(config->cors_origins, "");
    ck_assert_str_eq(config->tls_certificate, "");
    ck_assert_str_eq(config->tls_key, "");
}

CASE(defaults_of_limits)
{
    ck_assert_uint_eq(config->max_connections_per_address, 0);
    ck_assert_uint_eq(config->max_runs_per_client, 0);
    ck_assert_uint_eq(config->request_timeout, 60);
    ck_assert_uint_eq(config->stall, 30);
    ck_assert_uint_eq(config->log_size, 1048576);
    ck_assert_uint_eq(config->log_budget, 268435456);
    ck_assert_uint_eq(config->retention, 300);
}

CASE(defaults_of_plugin)
{
    const struct config_plugin *plugin = config_plugin(config, "any");

    ck_assert_ptr_nonnull(plugin);
    ck_assert_uint_eq(plugin->threads, 256);
    ck_assert_uint_eq(plugin->stack, 262144);
    ck_assert_uint_eq(plugin->max_live, 0);
    ck_assert_uint_eq(plugin->max_queued, 4096);
    ck_assert_uint_eq(plugin->on_disconnect, 30);
    ck_assert_uint_eq(plugin->deadline, 0);
    ck_assert_uint_eq(plugin->cancel_grace, 10);
    expect_json("any", "{}");
}

CASE(destroy_null)
{
    config_destroy(NULL);
}

CASE(empty_file)
{
    expect_read("");
    expect_read("\n\n   \n# one\n; two\n  # three\n");
    expect_read("[host]\n[plugin p]");
    ck_assert_str_eq(config->sections->name, "p");
}

CASE(host_keys)
{
    expect_read("[host]\n"
                "listen = 0.0.0.0:80\n"
                "plugins = ./my plugins\n"
                "max_headers = 16K\n"
                "max_body=512K\n"
                "max_connections = 10\n"
                "max_runs: 20\n"
                "connection_timeout = 1\n"
                "heartbeat = 2\n"
                "start_timeout = 3600\n"
                "shutdown_timeout = 0 ; at once\n"
                "forward_headers = X-Tenant, Accept-Language\n");
    ck_assert_str_eq(config->listen, "0.0.0.0:80");
    ck_assert_str_eq(config->plugins, "./my plugins");
    ck_assert_uint_eq(config->max_headers, 16384);
    ck_assert_uint_eq(config->max_body, 524288);
    ck_assert_uint_eq(config->max_connections, 10);
    ck_assert_uint_eq(config->max_runs, 20);
    ck_assert_uint_eq(config->connection_timeout, 1);
    ck_assert_uint_eq(config->heartbeat, 2);
    ck_assert_uint_eq(config->start_timeout, 3600);
    ck_assert_uint_eq(config->shutdown_timeout, 0);
    ck_assert_str_eq(config->forward_headers, "X-Tenant, Accept-Language");
}

CASE(access_keys)
{
    expect_read("[host]\n"
                "tokens = /etc/sluice/tokens\n"
                "allow_anonymous = yes\n"
                "cors_origins = https://app.example, http://localhost:5173\n"
                "tls_certificate = chain.pem\n"
                "tls_key = my key.pem\n");
    ck_assert_str_eq(config->tokens, "/etc/sluice/tokens");
    ck_assert(config->allow_anonymous);
    ck_assert_str_eq(config->cors_origins, "https://app.example, http://localhost:5173");
    ck_assert_str_eq(config->tls_certificate, "chain.pem");
    ck_assert_str_eq(config->tls_key, "my key.pem");
    set("host.tokens=");
    set("host.allow_anonymous=no");
    ck_assert_str_eq(config->tokens, "");
    ck_assert(!config->allow_anonymous);
}

CASE(limit_keys)
{
    expect_read("[host]\n"
                "max_connections_per_address = 1048576\n"
                "max_runs_per_client = 8\n"
                "request_timeout = 3600\n"
                "stall = 1\n"
                "log_size = 1K\n"
                "log_budget = 1M\n"
                "retention = 0\n");
    ck_assert_uint_eq(config->max_connections_per_address, 1048576);
    ck_assert_uint_eq(config->max_runs_per_client, 8);
    ck_assert_uint_eq(config->request_timeout, 3600);
    ck_assert_uint_eq(config->stall, 1);
    ck_assert_uint_eq(config->log_size, 1024);
    ck_assert_uint_eq(config->log_budget, 1048576);
    ck_assert_uint_eq(config->retention, 0);
}

CASE(plugin_keys)
{
    const struct config_plugin *plugin;

    expect_read("[plugin a.b-c_1]\nthreads = 4096\nstack = 64M\n[plugin b]\nthreads = 1\n");
    plugin = config_plugin(config, "a.b-c_1");
    ck_assert_uint_eq(plugin->threads, 4096);
    ck_assert_uint_eq(plugin->stack, 67108864);
    ck_assert_uint_eq(config_plugin(config, "b")->threads, 1);
    ck_assert_uint_eq(config_plugin(config, "b")->stack, 262144);
    ck_assert_uint_eq(config_plugin(config, "a.b")->threads, 256);
}

CASE(run_keys)
{
    const struct config_plugin *plugin;

    expect_read("[plugin p]\n"
                "max_live = 1\n"
                "max_queued = 1\n"
                "on_disconnect = continue\n"
                "deadline = 86400\n"
                "cancel_grace = 1\n"
                "log_rate = 7\n");
    plugin = config_plugin(config, "p");
    ck_assert_uint_eq(plugin->max_live, 1);
    ck_assert_uint_eq(plugin->max_queued, 1);
    ck_assert_uint_eq(plugin->on_disconnect, DISCONNECT_CONTINUE);
    ck_assert_uint_eq(plugin->deadline, 86400);
    ck_assert_uint_eq(plugin->cancel_grace, 1);
    ck_assert_uint_eq(plugin->log_rate, 7);
    expect_json("p", "{}");
}

CASE(log_words)
{
    ck_assert_uint_eq(config->log_level, LOG_INFO);
    ck_assert_uint_eq(config->log_format, LOG_TEXT);
    expect_read("[host]\nlog_level = fatal\nlog_format = json\n");
    ck_assert_uint_eq(config->log_level, LOG_FATAL);
    ck_assert_uint_eq(config->log_format, LOG_JSON);
    ck_assert_int_eq(config_set(config, "host.log_level=debug", &why), 0);
    ck_assert_uint_eq(config->log_level, LOG_DEBUG);
}

CASE(bad_log_words)
{
    expect_refusal("[host]\nlog_format = yaml\n",
                   "sluice.ini:2: log_format must be one of text, json, not 'yaml'");
    expect_refusal("[host]\nlog_format = tex\n",
                   "sluice.ini:2: log_format must be one of text, json, not 'tex'");
    expect_refusal("[host]\nlog_level =\n",
                   "sluice.ini:2: log_level must be one of fatal, error, plugin, warn, info, "
                   "debug, not ''");
    expect_refusal("[plugin p]\nlog_rate = -1\n",
                   "sluice.ini:2: log_rate must be 0 to 1000000, not '-1'");
}

CASE(disconnect)
{
    static const struct {
        const char *text;
        unsigned value;
    } cases[] = {{"cancel", DISCONNECT_CANCEL},
                 {"continue", DISCONNECT_CONTINUE},
                 {"1", 1},
                 {"86400", DISCONNECT_SECONDS_MAX}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char assignment[64];
        snprintf(assignment, sizeof assignment, "plugin.p.on_disconnect=%s", cases[i].text);
        set(assignment);
        ck_assert_uint_eq(config_plugin(config, "p")->on_disconnect, cases[i].value);
    }
}

CASE(variables)
{
    static const char *good[] = {"", "A", "a_1, B*,C=", "*", "A=b=c X=*", "_=1"};
    static const char *bad[] = {"1A", "A-B", "=x", "A B*C", "A**", "*A", "A.B"};
    char assignment[64];

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(assignment, sizeof assignment, "plugin.p.env=%s", good[i]);
        set(assignment);
        ck_assert_str_eq(config_plugin(config, "p")->env, good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(assignment, sizeof assignment, "plugin.p.env=%s", bad[i]);
        ck_assert_int_eq(config_set(config, assignment, &why), -EINVAL);
    }
}

CASE(limits)
{
    ck_assert_uint_eq(config_plugin(config, "p")->as, SETTING_LIMIT_AUTO);
    set("plugin.p.as=2M");
    ck_assert_uint_eq(config_plugin(config, "p")->as, 2097152);
    set("plugin.p.core=0");
    ck_assert_uint_eq(config_plugin(config, "p")->core, 0);
    set("plugin.p.as=auto");
    ck_assert_uint_eq(config_plugin(config, "p")->as, SETTING_LIMIT_AUTO);
    ck_assert_int_eq(config_set(config, "plugin.p.nproc=many", &why), -EINVAL);
    ck_assert_int_eq(config_set(config, "plugin.p.nproc=18446744073709551615", &why), -EINVAL);
}

CASE(origins)
{
    static const char *good[] = {"",
                                 "*",
                                 "https://app.example",
                                 "http://[::1]:8080",
                                 "https://a.example,https://b.example:444",
                                 "tauri://localhost, capacitor://localhost",
                                 "chrome-extension://abcdefghijklmnop",
                                 "app://obsidian.md",
                                 "ms-browser+x.1://a",
                                 " https://a.example \t http://b.example , "};

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char assignment[128];
        snprintf(assignment, sizeof assignment, "host.cors_origins=%s", good[i]);
        set(assignment);
        ck_assert_str_eq(config->cors_origins, good[i]);
    }
}

CASE(sizes)
{
    static const struct {
        const char *text;
        size_t bytes;
    } cases[] = {{"65536", 65536}, {"64K", 65536},    {"64k", 65536},        {"64KiB", 65536},
                 {"1M", 1048576},  {"2m", 2097152},   {"3MiB", 3145728},     {"0128K", 131072},
                 {"65537", 65537}, {"64M", 67108864}, {"67108864", 67108864}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char assignment[64];
        snprintf(assignment, sizeof assignment, "plugin.p.stack=%s", cases[i].text);
        set(assignment);
        ck_assert_uint_eq(config_plugin(config, "p")->stack, cases[i].bytes);
    }
}

CASE(json)
{
    expect_read("[plugin ask]\n"
                "documents = /srv/docs\n"
                "threads = 8\n"
                "quote = say \"hi\" \\ now\n"
                "number = 12\n"
                "empty =\n"
                "equation = a = b: c\n"
                "semicolon = a;b ; comment\n"
                "hash = #1 # stays\n"
                "stack = 1M\n"
                "umlaut = gr\xc3\xbc\xc3\x9f\n");
    expect_json("ask", "{\"documents\":\"/srv/docs\",\"quote\":\"say \\\"hi\\\" \\\\ now\","
                       "\"number\":\"12\",\"empty\":\"\",\"equation\":\"a = b: c\","
                       "\"semicolon\":\"a;b\",\"hash\":\"#1 # stays\",\"umlaut\":\"gr\xc3\xbc"
                       "\xc3\x9f\"}");
    expect_json("other", "{}");
}

CASE(keys_differ_by_case)
{
    expect_read("[plugin p]\nkey = 1\nKey = 2\nTHREADS = 3\n");
    expect_json("p", "{\"key\":\"1\",\"Key\":\"2\",\"THREADS\":\"3\"}");
}

CASE(host_key_names_in_plugin_are_the_authors)
{
    expect_read("[plugin p]\nlisten = x\n");
    expect_json("p", "{\"listen\":\"x\"}");
}

CASE(crlf_and_no_newline_at_the_end)
{
    expect_read("[host]\r\nheartbeat = 7\r\n\r\n[plugin p]\r\nk = v\r");
    ck_assert_uint_eq(config->heartbeat, 7);
    expect_json("p", "{\"k\":\"v\"}");
}

CASE(byte_order_mark)
{
    expect_read("\xef\xbb\xbf[host]\nheartbeat = 7\n");
    ck_assert_uint_eq(config->heartbeat, 7);
    expect_read("\xef\xbb\xbf# comment\n[host]\nheartbeat = 8\n");
    ck_assert_uint_eq(config->heartbeat, 8);
}

CASE(section_spacing_and_comments)
{
    expect_read("[ host ] ; comment\nheartbeat = 7\n[plugin \t p ]# comment\nk = v\n");
    ck_assert_uint_eq(config->heartbeat, 7);
    expect_json("p", "{\"k\":\"v\"}");
}

CASE(sections_of_one_name_merge)
{
    expect_read(
        "[plugin p]\na = 1\n[host]\nheartbeat = 7\n[plugin p]\nb = 2\n[host]\nmax_runs = 3\n");
    expect_json("p", "{\"a\":\"1\",\"b\":\"2\"}");
    ck_assert_uint_eq(config->max_runs, 3);
    ck_assert_ptr_null(config->sections->in_config.next);
}

CASE(longest_names)
{
    char name[65], key[65], text[512], json_text[512];

    memset(name, 'n', 64);
    memset(key, 'k', 64);
    name[64] = key[64] = '\0';
    snprintf(text, sizeof text, "[plugin %s]\n%s = v\n", name, key);
    snprintf(json_text, sizeof json_text, "{\"%s\":\"v\"}", key);
    expect_read(text);
    expect_json(name, json_text);
    name[63] = '\0';
    expect_json(name, "{}");
}

/* Lengths around the buffer of inih and up to the longest line, with and without a comment. */
CASE(long_lines)
{
    static const char *tails[] = {"", "\n", "\r\n", " \t ; comment = x\n[host]\nmax_runs = 3\n"};

    for (size_t length = 1; length <= INI_LINE_MAX - 64; length += length < 420 ? 1 : 9973) {
        for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
            char *text = long_value(length, tails[i]);
            expect_read(text);
            ck_assert_uint_eq(strlen(first_value("p")), length);
            ck_assert_uint_eq(strspn(first_value("p"), "x"), length);
            free(text);
        }
    }
    ck_assert_uint_eq(config->max_runs, 3);
}

/* A comment ends the value, wherever the buffer of inih ends. */
CASE(long_values_as_short_ones)
{
    static const char *tails[] = {" a;b", " a ;b", " = : x", "\t;x ; y", " # x", ";", " ;"};

    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        char pad[301], shape[400], text[900];
        const struct config_pair *second;

        memset(pad, 'x', 300);
        pad[300] = '\0';
        snprintf(shape, sizeof shape, "%s%s", pad, tails[i]);
        snprintf(text, sizeof text, "[plugin p]\nshort = %s\nlong = %s\n", shape + 299, shape);
        expect_read(text);
        second = config_plugin(config, "p")->pairs->in_plugin.next;
        ck_assert_str_eq(second->value + 299, first_value("p"));
    }
}

CASE(long_comment)
{
    char text[1000];

    memset(text, '=', sizeof text);
    text[0] = '#';
    strcpy(text + 900, "\n[host]\nheartbeat = 7\n");
    expect_read(text);
    ck_assert_uint_eq(config->heartbeat, 7);
}

CASE(second_file_overrides)
{
    expect_read("[host]\nheartbeat = 7\n[plugin p]\na = 1\n");
    expect_read("[host]\nheartbeat = 8\n[plugin p]\na = 2\n");
    ck_assert_uint_eq(config->heartbeat, 8);
    expect_json("p", "{\"a\":\"2\"}");
}

CASE(printed_defaults_are_a_file)
{
    FILE *file = fopen(FILE_NAME, "w");

    ck_assert_ptr_nonnull(file);
    config_print_defaults(file);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_msg(config_read(config, FILE_NAME, &why) == 0, "%s", why_text(&why));
    ck_assert_str_eq(config->listen, "127.0.0.1:8080");
    ck_assert_uint_eq(config_plugin(config, "NAME")->stack, 262144);
    expect_json("NAME", "{}");
}

/* ---- listen ---- */

CASES("listen", FIXTURE);

CASE(addresses)
{
    static const char *good[] = {"192.0.2.1:65535", "[::1]:0", "unix:/run/x.sock", "unix:x",
                                 "127.0.0.1:0, 127.0.0.1:0 unix:/a [::]:80"};

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char assignment[128];
        snprintf(assignment, sizeof assignment, "host.listen=%s", good[i]);
        set(assignment);
        ck_assert_str_eq(config->listen, good[i]);
    }
}

CASE(bad_addresses)
{
    static const char *bad[] = {"",           "8080",        ":8080",
                                "127.0.0.1",  "127.0.0.1:",  "::1:80",
                                "[::1]",      "[::1]80",     "[]:80",
                                "[:80",       "]:80",        "[127.0.0.1]:80",
                                "127.1:80",   "localhost:1", "1.2.3.4:65536",
                                "1.2.3.4:-1", "1.2.3.4:+1",  "1.2.3.4:8x",
                                "1.2.3.4: 8", "[::1:80",     "1.2.3.4:99999999999999999999",
                                "unix:",      "/run/x.sock", "127.0.0.1:80,localhost:80",
                                ", ,",        "unix"};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char assignment[128], message[300];
        snprintf(assignment, sizeof assignment, "host.listen=%s", bad[i]);
        snprintf(message, sizeof message,
                 "--set %s: listen must be numeric ADDRESS:PORT such as 127.0.0.1:8080 or "
                 "[::1]:8080, or unix:PATH, not '%s'",
                 assignment, bad[i]);
        expect_set_refusal(assignment, message);
    }
    ck_assert_str_eq(config->listen, "127.0.0.1:8080");
}

CASE(long_address)
{
    char assignment[300] = "host.listen=[";

    memset(assignment + 13, '1', 200);
    strcpy(assignment + 213, "]:1");
    ck_assert_int_eq(config_set(config, assignment, &why), -EINVAL);
}

/* ---- refused files ---- */

CASES("refused", FIXTURE);

CASE(missing_file)
{
    ck_assert_int_eq(config_read(config, "none.ini", &why), -ENOENT);
    ck_assert_str_eq(why_text(&why), "none.ini: cannot be read: No such file or directory");
}

CASE(unreadable_file)
{
    if (geteuid() == 0)
        return;
    file_write("", 0);
    ck_assert_int_eq(chmod(FILE_NAME, 0), 0);
    ck_assert_int_eq(config_read(config, FILE_NAME, &why), -EACCES);
    ck_assert_str_eq(why_text(&why), "sluice.ini: cannot be read: Permission denied");
}

CASE(folder_as_file)
{
    ck_assert_int_eq(config_read(config, ".", &why), -EISDIR);
    ck_assert_str_eq(why_text(&why), ".: cannot be read: Is a directory");
}

CASE(unknown_key)
{
    expect_refusal("[host]\n\nlisen = 127.0.0.1:1\n",
                   "sluice.ini:3: unknown key 'lisen' in [host]; " HOST_KEYS);
    expect_refusal("[host]\nPlugins = 1\n",
                   "sluice.ini:2: unknown key 'Plugins' in [host]; " HOST_KEYS);
    expect_refusal("[host]\nthreads = 4\n",
                   "sluice.ini:2: unknown key 'threads' in [host]; " HOST_KEYS);
}

CASE(numbers)
{
    expect_refusal("[plugin p]\n\nthreads = many\n",
                   "sluice.ini:3: threads must be 1 to 4096, not 'many'");
    expect_refusal("[plugin p]\nthreads = 0\n", "sluice.ini:2: threads must be 1 to 4096, not '0'");
    expect_refusal("[plugin p]\nthreads = 4097\n",
                   "sluice.ini:2: threads must be 1 to 4096, not '4097'");
    expect_refusal("[plugin p]\nthreads = -1\n",
                   "sluice.ini:2: threads must be 1 to 4096, not '-1'");
    expect_refusal("[plugin p]\nthreads = 4K\n",
                   "sluice.ini:2: threads must be 1 to 4096, not '4K'");
    expect_refusal("[plugin p]\nthreads =\n", "sluice.ini:2: threads must be 1 to 4096, not ''");
    expect_refusal("[plugin p]\nthreads = 4294967297\n",
                   "sluice.ini:2: threads must be 1 to 4096, not '4294967297'");
    expect_refusal("[host]\nmax_runs = 0\n",
                   "sluice.ini:2: max_runs must be 1 to 1048576, not '0'");
    expect_refusal(
        "[host]\nmax_connections = 99999999999999999999\n",
        "sluice.ini:2: max_connections must be 1 to 1048576, not '99999999999999999999'");
}

CASE(durations)
{
    expect_refusal("[host]\nheartbeat = 15s\n",
                   "sluice.ini:2: heartbeat must be 1 to 3600 seconds, not '15s'");
    expect_refusal("[host]\nconnection_timeout = 0\n",
                   "sluice.ini:2: connection_timeout must be 1 to 3600 seconds, not '0'");
    expect_refusal("[host]\nstart_timeout = 1.5\n",
                   "sluice.ini:2: start_timeout must be 1 to 3600 seconds, not '1.5'");
    expect_refusal("[host]\nshutdown_timeout = 3601\n",
                   "sluice.ini:2: shutdown_timeout must be 0 to 3600 seconds, not '3601'");
}

CASE(bad_sizes)
{
    expect_refusal("[host]\nmax_body = 65M\n",
                   "sluice.ini:2: max_body must be 1 to 64M bytes, not '65M'");
    expect_refusal("[host]\nmax_body = 0\n",
                   "sluice.ini:2: max_body must be 1 to 64M bytes, not '0'");
    expect_refusal("[host]\nmax_body = 67108865\n",
                   "sluice.ini:2: max_body must be 1 to 64M bytes, not '67108865'");
    expect_refusal("[plugin p]\nstack = 65535\n",
                   "sluice.ini:2: stack must be 64K to 64M bytes, not '65535'");
    expect_refusal("[plugin p]\nstack = 17592186044417M\n",
                   "sluice.ini:2: stack must be 64K to 64M bytes, not '17592186044417M'");
    expect_refusal("[plugin p]\nstack = 1 M\n",
                   "sluice.ini:2: stack must be 64K to 64M bytes, not '1 M'");
    expect_refusal("[plugin p]\nstack = 1MB\n",
                   "sluice.ini:2: stack must be 64K to 64M bytes, not '1MB'");
    expect_refusal("[plugin p]\nstack = M\n",
                   "sluice.ini:2: stack must be 64K to 64M bytes, not 'M'");
}

CASE(empty_folder)
{
    expect_refusal("[host]\nplugins =\n",
                   "sluice.ini:2: plugins must be the path of a folder, not ''");
}

CASE(header_names)
{
    static const char *bad[] = {"a b", "a,,b", ",a", "a,", "a: b", "a;b", ","};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[100], message[200];
        snprintf(text, sizeof text, "[host]\nforward_headers = %s\n", bad[i]);
        snprintf(message, sizeof message,
                 "sluice.ini:2: forward_headers must be header names separated by commas, not '%s'",
                 bad[i]);
        expect_refusal(text, message);
    }
    set("host.forward_headers=a");
    set("host.forward_headers= a ,\tb,c ");
    set("host.forward_headers=");
}

CASE(bad_switches)
{
    static const char *bad[] = {"", "true", "1", "YES", "yes no", "on"};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char assignment[64], message[128];
        snprintf(assignment, sizeof assignment, "host.allow_anonymous=%s", bad[i]);
        snprintf(message, sizeof message, "--set %s: allow_anonymous must be yes or no, not '%s'",
                 assignment, bad[i]);
        expect_set_refusal(assignment, message);
    }
    ck_assert(!config->allow_anonymous);
}

CASE(hosts)
{
    static const char *good[] = {"",         "*",        "agents.example, host.docker.internal",
                                 "my_agent", "10.0.0.1", "[fe80::1]"};
    static const char *bad[] = {"agents.example:8080",
                                "https://agents.example",
                                "a/b",
                                "*, a",
                                "*.example",
                                "[::1]:80",
                                "[]",
                                "u@h"};
    char assignment[128], message[256];

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(assignment, sizeof assignment, "host.allowed_hosts=%s", good[i]);
        set(assignment);
        ck_assert_str_eq(config->allowed_hosts, good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(assignment, sizeof assignment, "host.allowed_hosts=%s", bad[i]);
        snprintf(message, sizeof message,
                 "--set %s: allowed_hosts must be host names and addresses without a port, "
                 "separated by commas, or *, not '%s'",
                 assignment, bad[i]);
        expect_set_refusal(assignment, message);
    }
}

CASE(bad_origins)
{
    static const char *bad[] = {"app.example",
                                "https://",
                                "https://app.example/",
                                "https://app.example?x",
                                "https://user@app.example",
                                "://app.example",
                                "1a://app.example",
                                "a b://app.example",
                                "app:app.example",
                                "https://*.app.example",
                                "https://app.example, *",
                                "* https://app.example",
                                "null"};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char assignment[64], message[256];
        snprintf(assignment, sizeof assignment, "host.cors_origins=%s", bad[i]);
        snprintf(message, sizeof message,
                 "--set %s: cors_origins must be origins such as https://app.example separated by "
                 "commas, or *, not '%s'",
                 assignment, bad[i]);
        expect_set_refusal(assignment, message);
    }
    ck_assert_str_eq(config->cors_origins, "");
}

CASE(bad_disconnects)
{
    static const char *bad[] = {"", "0", "86401", "-1", "30s", "stop", "Cancel", "4294967295"};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char assignment[64], message[256];
        snprintf(assignment, sizeof assignment, "plugin.p.on_disconnect=%s", bad[i]);
        snprintf(message, sizeof message,
                 "--set %s: on_disconnect must be cancel, continue, or 1 to 86400 seconds, not "
                 "'%s'",
                 assignment, bad[i]);
        expect_set_refusal(assignment, message);
    }
    ck_assert_uint_eq(config_plugin(config, "p")->on_disconnect, 30);
}

CASE(bad_limits)
{
    expect_refusal("[host]\nmax_headers = 4095\n",
                   "sluice.ini:2: max_headers must be 4K to 64K bytes, not '4095'");
    expect_refusal("[host]\nlog_size = 1023\n",
                   "sluice.ini:2: log_size must be 1K to 64M bytes, not '1023'");
    expect_refusal("[host]\nlog_budget = 1023K\n",
                   "sluice.ini:2: log_budget must be 1M to 1048576M bytes, not '1023K'");
    expect_refusal("[host]\nretention = 86401\n",
                   "sluice.ini:2: retention must be 0 to 86400 seconds, not '86401'");
    expect_refusal("[host]\nstall = 0\n", "sluice.ini:2: stall must be 1 to 3600 seconds, not '0'");
    expect_refusal("[host]\nrequest_timeout = 0\n",
                   "sluice.ini:2: request_timeout must be 1 to 3600 seconds, not '0'");
    expect_refusal("[plugin p]\ncancel_grace = 0\n",
                   "sluice.ini:2: cancel_grace must be 1 to 3600 seconds, not '0'");
    expect_refusal("[plugin p]\ndeadline = 86401\n",
                   "sluice.ini:2: deadline must be 0 to 86400 seconds, not '86401'");
    expect_refusal("[plugin p]\nmax_queued = -1\n",
                   "sluice.ini:2: max_queued must be 1 to 1048576, not '-1'");
}

CASE(unknown_section)
{
    expect_refusal(
        "[host]\n\n\n\n\n\n[plugins ask]\n",
        "sluice.ini:7: [plugins ask] is not a section; sections are [host] and [plugin NAME]");
    expect_refusal(
        "[plugin]\n",
        "sluice.ini:1: [plugin] is not a section; sections are [host] and [plugin NAME]");
    expect_refusal("[]\n",
                   "sluice.ini:1: [] is not a section; sections are [host] and [plugin NAME]");
    expect_refusal("[Host]\n",
                   "sluice.ini:1: [Host] is not a section; sections are [host] and [plugin NAME]");
}

CASE(section_syntax)
{
    expect_refusal("[host\nheartbeat = 1\n", "sluice.ini:1: '[host' has no ']'");
    expect_refusal("[host] heartbeat = 1\n",
                   "sluice.ini:1: only a comment may follow [host] on its line");
}

CASE(plugin_names)
{
    char text[200] = "[plugin ";

    expect_refusal("[plugin a b]\n",
                   "sluice.ini:1: 'a b' is not a plugin's name; it has 1 to 64 letters, "
                   "digits, '-', '_' and '.'");
    expect_refusal("[plugin ../x]\n", "sluice.ini:1: '../x' is not a plugin's name; it has 1 to 64 "
                                      "letters, digits, '-', '_' and '.'");
    memset(text + 8, 'n', 65);
    strcpy(text + 73, "]\n");
    ck_assert_int_eq(read_bytes(text, strlen(text)), -EINVAL);
    ck_assert_ptr_nonnull(strstr(why_text(&why), "nnn' is not a plugin's name"));
}

CASE(key_outside_a_section)
{
    expect_refusal("# sluice\nlisten = 127.0.0.1:1\n",
                   "sluice.ini:2: 'listen' is outside a section; put "
                   "it below [host] or [plugin NAME]");
}

CASE(no_equals_sign)
{
    expect_refusal("[host]\nheartbeat 15\nlisen = 1\n",
                   "sluice.ini:2: no '=' in this line; write KEY = VALUE");
    expect_refusal("[host]\nheartbeat ; = 15\n",
                   "sluice.ini:2: no '=' in this line; write KEY = VALUE");
    expect_refusal("[host]\nheartbeat", "sluice.ini:2: no '=' in this line; write KEY = VALUE");
    expect_refusal("[host]\n = 15",
                   "sluice.ini:2: the line is indented; begin it at the left edge, and "
                   "write each value on one line");
    expect_refusal("[host]\n= 15", "sluice.ini:2: no key before the '='");
    expect_refusal("[plugin p]\n= 15", "sluice.ini:2: no key before the '='");
}

CASE(long_line_without_equals_sign)
{
    char text[1000] = "[plugin p]\n";

    memset(text + strlen(text), 'x', 500);
    expect_refusal(text, "sluice.ini:2: no '=' in this line; write KEY = VALUE");
    strcat(text, " = y");
    ck_assert_int_eq(read_bytes(text, strlen(text)), -EINVAL);
}

CASE(author_keys)
{
    expect_refusal(
        "[plugin p]\nlisten 127.0.0.1:8080\n",
        "sluice.ini:2: 'listen 127.0.0.1' is not a key; a key has 1 to 64 letters, digits, '-' "
        "and '_'");
    expect_refusal("[plugin p]\na.b = 1\n",
                   "sluice.ini:2: 'a.b' is not a key; a key has 1 to 64 letters, "
                   "digits, '-' and '_'");
}

CASE(key_set_twice)
{
    expect_refusal("[host]\nheartbeat = 1\nheartbeat = 1\n",
                   "sluice.ini:3: heartbeat is set twice, first in line 2");
    expect_refusal("[plugin p]\nk = 1\n[host]\nheartbeat = 1\n[plugin p]\nk = 2\n",
                   "sluice.ini:6: k is set twice, first in line 2");
    why_set(&why, 0, "untouched");
    expect_read("[plugin p]\nk = 1\n[plugin q]\nk = 2\nheartbeat = 1\n[host]\nheartbeat = 1\n");
}

CASE(indented_line)
{
    expect_refusal(
        "[host]\nheartbeat = 1\n  max_runs = 2\n",
        "sluice.ini:3: the line is indented; begin it at the left edge, and write each value on "
        "one line");
    expect_refusal(
        "[plugin p]\nprompt = one\n\ttwo\n",
        "sluice.ini:3: the line is indented; begin it at the left edge, and write each value on "
        "one line");
    expect_refusal(" [host]\n",
                   "sluice.ini:1: the line is indented; begin it at the left edge, and write "
                   "each value on one line");
}

CASE(line_beyond_the_longest)
{
    char *text = long_value(INI_LINE_MAX - 3, "\n");

    expect_refusal(text, "sluice.ini:2: the line is longer than 65536 bytes");
    text[strlen(text) - 2] = '\n';
    why_set(&why, 0, "untouched");
    expect_read(text);
    free(text);
}

CASE(nul_byte)
{
    static const char text[] = "[host]\nheartbeat = 1\0\n";

    ck_assert_int_eq(read_bytes(text, sizeof text - 1), -EINVAL);
    ck_assert_str_eq(why_text(&why), "sluice.ini:2: a NUL byte; the file must be UTF-8 text");
}

CASE(not_utf8)
{
    expect_refusal("[plugin p]\nname = gr\xfc\xdf\n",
                   "sluice.ini:2: the value of name is not UTF-8");
}

CASE(control_bytes_are_masked)
{
    expect_refusal("[host]\nheartbeat = \033[31m\n",
                   "sluice.ini:2: heartbeat must be 1 to 3600 seconds, not '?[31m'");
}

CASE(first_error_is_told)
{
    expect_refusal("[host]\nheartbeat = x\nlisen = 1\n[x]\n",
                   "sluice.ini:2: heartbeat must be 1 to 3600 seconds, not 'x'");
    expect_refusal("[host]\nheartbeat\nmax_runs = x\n",
                   "sluice.ini:2: no '=' in this line; write KEY = VALUE");
}

/* A reason is whole, however long the names in it are, and one line. */
CASE(long_reason)
{
    char name[300];

    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    name[100] = '\n';
    ck_assert_int_eq(config_read(config, name, &why), -ENAMETOOLONG);
    ck_assert_uint_eq(strlen(why_text(&why)),
                      strlen(name) + strlen(": cannot be read: File name too long"));
    ck_assert_ptr_null(strchr(why_text(&why), '\n'));
    file_write("[host]\nx = 1\n", 13);
    ck_assert_int_eq(config_read(config, FILE_NAME, &why), -EINVAL);
    ck_assert_uint_gt(strlen(why_text(&why)), 400);
    ck_assert_ptr_nonnull(strstr(why_text(&why), "sluice.ini:2: unknown key 'x'"));
    ck_assert_ptr_nonnull(strstr(why_text(&why), ", tls_key"));
}

/* ---- --set ---- */

CASES("set", FIXTURE);

CASE(set_overrides_the_file)
{
    expect_read(
        "[host]\nheartbeat = 7\nmax_runs = 3\n[plugin ask]\nk = file\nthreads = 8\nother = x\n");
    set("host.heartbeat=9");
    set("plugin.ask.k=set");
    set("plugin.ask.threads=2");
    ck_assert_uint_eq(config->heartbeat, 9);
    ck_assert_uint_eq(config->max_runs, 3);
    ck_assert_uint_eq(config_plugin(config, "ask")->threads, 2);
    expect_json("ask", "{\"k\":\"set\",\"other\":\"x\"}");
}

CASE(set_splits_at_the_last_dot)
{
    set("plugin.a.b.key=x.y=z");
    expect_json("a.b", "{\"key\":\"x.y=z\"}");
    expect_json("a", "{}");
}

CASE(set_keeps_the_value_whole)
{
    set("plugin.p.prompt= one ; not a comment\ntwo\n");
    expect_json("p", "{\"prompt\":\" one ; not a comment\\ntwo\\n\"}");
    set("plugin.p.prompt=");
    expect_json("p", "{\"prompt\":\"\"}");
}

CASE(set_twice_takes_the_last)
{
    set("host.heartbeat=9");
    set("host.heartbeat=10");
    ck_assert_uint_eq(config->heartbeat, 10);
}

CASE(set_unknown)
{
    expect_set_refusal("host.lisen=x",
                       "--set host.lisen=x: unknown key 'lisen' in [host]; " HOST_KEYS);
    expect_set_refusal("host.=x", "--set host.=x: no key before the '='");
    expect_set_refusal("plugin.p.=x", "--set plugin.p.=x: no key before the '='");
}

CASE(set_syntax)
{
    static const char *bad[] = {"",   "host",       "host.listen", "listen=1:1",    "plugin=x",
                                "=x", "plugin.p=x", "plugin.p.k",  "plugins.p.k=v", "host=x.y"};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char message[200];
        snprintf(message, sizeof message, "--set %s: write host.KEY=VALUE or plugin.NAME.KEY=VALUE",
                 bad[i]);
        expect_set_refusal(bad[i], message);
    }
}

CASE(set_bad_values)
{
    expect_set_refusal("plugin.ask.threads=many",
                       "--set plugin.ask.threads=many: threads must be 1 to 4096, not 'many'");
    expect_set_refusal("plugin.a/b.k=v",
                       "--set plugin.a/b.k=v: 'a/b' is not a plugin's name; it has 1 to "
                       "64 letters, digits, '-', '_' and '.'");
    expect_set_refusal("plugin..k=v",
                       "--set plugin..k=v: '' is not a plugin's name; it has 1 to 64 "
                       "letters, digits, '-', '_' and '.'");
    expect_set_refusal("plugin.p.k k=v",
                       "--set plugin.p.k k=v: 'k k' is not a key; a key has 1 to 64 "
                       "letters, digits, '-' and '_'");
    expect_set_refusal("plugin.p.k=\xff", "--set plugin.p.k=?: the value of k is not UTF-8");
    expect_set_refusal("host.heartbeat=1\n2",
                       "--set host.heartbeat=1?2: heartbeat must be 1 to 3600 "
                       "seconds, not '1?2'");
}

CASE(set_long)
{
    char *assignment = calloc(1, 100000);

    strcpy(assignment, "host.max_runs=");
    memset(assignment + 14, '1', 90000);
    ck_assert_int_eq(config_set(config, assignment, &why), -EINVAL);
    ck_assert_ptr_nonnull(strstr(why_text(&why), "1: max_runs must be 1 to 1048576, not '1"));
    memcpy(assignment, "plugin.prompt.k=", 16);
    set(assignment);
    ck_assert_uint_eq(strlen(first_value("prompt")), 90000 - 2);
    free(assignment);
}

/* ---- the configuration of a plugin as JSON ---- */

/* Return "plugin.p.KEY=" and `length` times the character. */
static int set_filled(char key, char character, size_t length)
{
    char *assignment = malloc(length + 16);
    int head = sprintf(assignment, "plugin.p.%c=", key), status;

    memset(assignment + head, character, length);
    assignment[(size_t)head + length] = '\0';
    status = config_set(config, assignment, &why);
    free(assignment);
    return status;
}

static size_t json_length(void)
{
    char *text = config_plugin_json(config, "p");
    size_t length = strlen(text);

    free(text);
    return length;
}

CASES("json", FIXTURE);

CASE(json_of_the_longest_value)
{
    ck_assert_int_eq(set_filled('k', 'x', CONFIG_JSON_MAX - 9), 0);
    ck_assert_uint_eq(json_length(), CONFIG_JSON_MAX - 1);
    ck_assert_int_eq(set_filled('k', 'x', CONFIG_JSON_MAX - 8), -EINVAL);
    ck_assert_ptr_nonnull(
        strstr(why_text(&why), "x: with k, [plugin p] has more than 512 KiB of keys and values"));
}

CASE(json_counts_escapes)
{
    ck_assert_int_eq(set_filled('k', '\n', CONFIG_JSON_MAX / 2 - 5), 0);
    ck_assert_uint_eq(json_length(), CONFIG_JSON_MAX - 2);
    ck_assert_int_eq(set_filled('k', '\001', CONFIG_JSON_MAX / 6), -EINVAL);
}

CASE(json_counts_only_the_last_value)
{
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(set_filled('k', 'x', 300000), 0);
        ck_assert_int_eq(set_filled('l', 'x', 200000), 0);
    }
    ck_assert_int_eq(set_filled('m', 'x', 100000), -EINVAL);
}

CASE(json_too_long_in_a_file)
{
    char *text = malloc(1 << 20), *at = text + sprintf(text, "[plugin q]\nk = 1\n[plugin p]\n");

    for (int key = 'a'; key < 'a' + 9; key++) {
        at += sprintf(at, "%c = ", key);
        memset(at, 'x', 60000);
        at += 60000;
        at += sprintf(at, "\n");
    }
    expect_refusal(text, "sluice.ini:12: with i, [plugin p] has more than 512 KiB of keys and "
                         "values");
    free(text);
}

/* ---- the check of a whole configuration ---- */

static void expect_fit(const char *listen)
{
    int status = config_check(config, listen, &why);
    ck_assert_msg(status == 0, "%s: %s", listen, why_text(&why));
}

static void expect_unfit(const char *listen, const char *message)
{
    ck_assert_int_eq(config_check(config, listen, &why), -EINVAL);
    ck_assert_str_eq(why_text(&why), message);
}

CASES("checked", FIXTURE);

CASE(loopback_needs_no_tokens)
{
    expect_fit("127.0.0.1:8080");
    expect_fit("127.255.255.254:0");
    expect_fit("[::1]:8080");
    expect_fit("[::ffff:127.1.2.3]:8080");
    expect_fit("unix:/run/x.sock");
    expect_fit("127.0.0.1:1 unix:x, [::1]:2");
}

CASE(proxy_protocol_is_of_listeners)
{
    set("host.proxy_protocol=127.0.0.1:81");
    expect_unfit("127.0.0.1:8080", "proxy_protocol has 127.0.0.1:81, which is not in listen; write "
                                   "it as there");
    set("host.listen=127.0.0.1:80, 127.0.0.1:81");
    expect_unfit("127.0.0.1:80 127.0.0.1:81",
                 "proxy_protocol needs trusted_proxies, the addresses of the proxies");
    set("host.trusted_proxies=10.0.0.0/8, ::1 unix");
    expect_fit("127.0.0.1:80 127.0.0.1:81");
}

CASE(modes_and_networks)
{
    static const char *bad[] = {"socket_mode=",      "socket_mode=888",
                                "socket_mode=1777",  "socket_mode=rw",
                                "socket_mode=00660", "trusted_proxies=proxy",
                                "trusted_proxies=*", "trusted_proxies=10.0.0.0/33"};
    char assignment[64];

    ck_assert_uint_eq(config->socket_mode, 0660);
    set("host.socket_mode=600");
    ck_assert_uint_eq(config->socket_mode, 0600);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(assignment, sizeof assignment, "host.%s", bad[i]);
        ck_assert_int_eq(config_set(config, assignment, &why), -EINVAL);
    }
}

CASE(other_addresses_need_tokens)
{
    static const char *others[] = {
        "0.0.0.0:8080",          "126.255.255.255:1", "128.0.0.1:1",
        "192.168.0.1:1",         "[::]:8080",         "[::2]:1",
        "[2001:db8::1]:1",       "[::127.0.0.1]:1",   "[::ffff:192.0.2.1]:1",
        "127.0.0.1:1 0.0.0.0:1", "unix:x, 10.0.0.1:1"};

    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char message[300];
        snprintf(message, sizeof message,
                 "others can reach %s: set host.tokens to a file of tokens, which `sluice token` "
                 "makes, or host.allow_anonymous to yes if everyone may start runs",
                 others[i]);
        expect_unfit(others[i], message);
    }
    set("host.tokens=tokens");
    expect_fit("0.0.0.0:8080");
    set("host.tokens=");
    set("host.allow_anonymous=yes");
    expect_fit("0.0.0.0:8080");
}

CASE(certificate_and_key_go_together)
{
    set("host.tls_key=key.pem");
    expect_unfit(config->listen, "tls_key is set without tls_certificate; set both, or none");
    set("host.tls_certificate=chain.pem");
    expect_fit(config->listen);
    set("host.tls_key=");
    expect_unfit(config->listen, "tls_certificate is set without tls_key; set both, or none");
}

static void add_change(void *data, const char *key, bool needs_restart)
{
    buf_printf(data, "%s%s%s", buf_length(data) > 0 ? "," : "", needs_restart ? "!" : "", key);
}

/* The changes from old to config; those that need a restart have a '!'. */
static void expect_changes(struct config *old, const char *wanted)
{
    struct buf changes = {0};
    char *text;

    config_compare(old, config, add_change, &changes);
    text = buf_steal(&changes);
    ck_assert_str_eq(text, wanted);
    free(text);
}

/* Those when the configuration that these assignments make replaces the default. */
static void expect_restart(const char *wanted, const char *first, const char *second)
{
    struct config *old = config_create();

    set(first);
    if (second)
        set(second);
    expect_changes(old, wanted);
    config_destroy(old);
}

CASES("restart", FIXTURE);

CASE(live_settings_need_none)
{
    expect_restart("host.heartbeat,host.log_size", "host.heartbeat=3", "host.log_size=2K");
}

CASE(unchanged_settings_need_none)
{
    expect_restart("", "host.listen=127.0.0.1:8080", "host.max_body=1024K");
}

CASE(settings_of_each_kind_need_one)
{
    expect_restart("!host.listen,!host.max_body", "host.max_body=2K", "host.listen=127.0.0.1:1");
}

CASE(counts_and_seconds_need_one)
{
    expect_restart("!host.max_connections,!host.request_timeout", "host.request_timeout=1",
                   "host.max_connections=7");
}

CASE(certificate_needs_one_if_there_was_none)
{
    expect_restart("!host.tls_certificate,!host.tls_key", "host.tls_certificate=chain.pem",
                   "host.tls_key=key.pem");
}

CASE(another_certificate_needs_none)
{
    struct config *old = config_create();

    ck_assert_int_eq(config_set(old, "host.tls_certificate=old.pem", &why), 0);
    set("host.tls_certificate=new.pem");
    expect_changes(old, "host.tls_certificate");
    config_destroy(old);
}

/* Time to read many lines, in files of this many. */
static clock_t time_lines(const char *begin, const char *end, unsigned count)
{
    FILE *file = fopen("sluice.ini", "w");
    clock_t start;

    ck_assert_ptr_nonnull(file);
    fputs("[plugin p]\n", file);
    for (unsigned i = 0; i < count; i++)
        fprintf(file, "%s%u%s\n", begin, i, end);
    fclose(file);
    start = clock();
    for (unsigned lines = 0; lines < 16384; lines += count) {
        struct config *many = config_create();

        ck_assert_msg(config_read(many, "sluice.ini", &why) == 0, "%s", why_text(&why));
        config_destroy(many);
    }
    return clock() - start;
}

static clock_t time_keys(unsigned count)
{
    return time_lines("key-", " = 1", count);
}

static clock_t time_sections(unsigned count)
{
    return time_lines("[plugin n", "]", count);
}

CASE(no_key_walks_over_the_others)
{
    expect_no_walk(time_keys, 256);
}

CASE(no_section_walks_over_the_others)
{
    expect_no_walk(time_sections, 256);
}

CASE(what_needs_a_restart_stays_in_force)
{
    struct config *old = config_create();

    set("host.max_body=3");
    set("host.plugins=elsewhere");
    set("host.stall=3");
    expect_changes(old, "!host.plugins,!host.max_body,host.stall");
    ck_assert_uint_eq(config->max_body, 1024 * 1024);
    ck_assert_str_ne(config->plugins, "elsewhere");
    ck_assert_uint_eq(config->stall, 3);
    ck_assert_str_eq(old->plugins, "elsewhere");
    config_destroy(old);
}

CASE(keys_of_plugins_are_compared_too)
{
    struct config *old = config_create();

    ck_assert_int_eq(config_set(old, "plugin.a.same=1", &why), 0);
    ck_assert_int_eq(config_set(old, "plugin.a.other=1", &why), 0);
    ck_assert_int_eq(config_set(old, "plugin.a.gone=1", &why), 0);
    ck_assert_int_eq(config_set(old, "plugin.b.threads=1", &why), 0);
    ck_assert_int_eq(config_set(old, "plugin.b.gone=1", &why), 0);
    set("plugin.a.new=1");
    set("plugin.a.other=2");
    set("plugin.a.same=1");
    set("plugin.c.workers=2");
    expect_changes(old, "plugin.a.new,plugin.a.other,plugin.a.gone,plugin.c.workers,"
                        "plugin.b.threads,plugin.b.gone");
    config_destroy(old);
}

static void add_doubt(void *data, const char *text)
{
    buf_printf(data, "%s\n", text);
}

/* The key of this assignment to a plugin was meant to be one of the host's; NULL: it was not. */
static void expect_doubt(const char *assignment, const char *meant)
{
    struct config *one = config_create();
    struct buf doubts = {0};
    char *text;

    ck_assert_int_eq(config_set(one, assignment, &why), 0);
    config_review(one, add_doubt, &doubts);
    text = buf_steal(&doubts);
    if (meant)
        ck_assert_ptr_nonnull(strstr(text, meant));
    else
        ck_assert_str_eq(text, "");
    free(text);
    config_destroy(one);
}

CASE(keys_that_look_like_the_hosts_are_doubted)
{
    expect_doubt("plugin.a.memory_limt=100M", "plugin.a.memory_limt goes to the plugin as a key of "
                                              "its own; did you mean memory_limit?\n");
    expect_doubt("plugin.a.worker=4", "mean workers?");
    expect_doubt("plugin.a.wrokers=4", "mean workers?");
    expect_doubt("plugin.a.deadlien=4", "mean deadline?");
    expect_doubt("plugin.a.on-disconnect=4", "mean on_disconnect?");
    expect_doubt("plugin.a.satck=4", "mean stack?");
    expect_doubt("plugin.a.heartbeat=4", "mean heartbeat in [host]?");
    expect_doubt("plugin.a.shutdown_timout=4", "mean shutdown_timeout in [host]?");
}

CASE(keys_of_authors_are_not)
{
    expect_doubt("plugin.a.token=secret", NULL);
    expect_doubt("plugin.a.model=large", NULL);
    expect_doubt("plugin.a.size=3", NULL);
    expect_doubt("plugin.a.is=3", NULL);
    expect_doubt("plugin.a.code=3", NULL);
    expect_doubt("plugin.a.state=4", NULL);
    expect_doubt("plugin.a.workers=4", NULL);
    expect_doubt("plugin.a.max_tokens=4", NULL);
    expect_doubt("plugin.a.url=http://", NULL);
}
