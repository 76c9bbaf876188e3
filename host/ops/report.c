/*
 * The one place that makes JSON of snapshots. A text that is NULL or empty has
 * no member. To show a new fact: put it into the snapshot of its owner
 * (deployment.h, generation.h, process.h) and print it here.
 */
#include "ops/report.h"

#include "base/mem.h"
#include "base/time.h"
#include "config/setting.h"

#include <stdlib.h>
#include <string.h>

static void report_text(struct json_writer *json, const char *name, const char *text)
{
    if (text && *text)
        json_text(json, name, text);
}

static void report_process(const struct process *process, struct json_writer *json)
{
    struct process_snapshot shot;

    process_snapshot(process, &shot);
    json_open(json, NULL, '{');
    json_number(json, "pid", (uint64_t)shot.pid);
    json_text(json, "state", shot.state);
    json_number(json, "live_runs", shot.live_runs);
    json_number(json, "started_runs", shot.started_runs);
    json_number(json, "memory", shot.memory);
    json_number(json, "age_s", shot.age_ms / 1000);
    if (shot.drains) {
        if (shot.drain_left_ms != NEVER)
            json_number(json, "drain_left_s", shot.drain_left_ms / 1000);
        json_open(json, "runs", '[');
        for (unsigned i = 0; i < shot.run_count; i++)
            json_text(json, NULL, shot.runs[i]);
        json_close(json, ']');
    }
    json_close(json, '}');
}

static void report_generation(const struct generation *generation, struct json_writer *json)
{
    struct generation_snapshot shot;

    generation_snapshot(generation, &shot);
    json_open(json, NULL, '{');
    json_number(json, "generation", shot.number);
    report_text(json, "version", shot.version);
    report_text(json, "mode", shot.mode);
    json_text(json, "state", shot.state);
    report_text(json, "reason", shot.reason);
    json_number(json, "restarts", shot.restarts);
    json_number(json, "refused", shot.refused_calls);
    json_number(json, "age_s", shot.age_ms / 1000);
    json_open(json, "workers", '[');
    for (unsigned i = 0; i < shot.processes; i++)
        report_process(generation_process(generation, i), json);
    json_close(json, ']');
    json_close(json, '}');
}

void report_folder(const struct registry *registry, struct json_writer *json)
{
    struct watch_snapshot shot;

    registry_watch(registry, &shot);
    json_open(json, "folder", '{');
    json_text(json, "path", shot.folder);
    json_text(json, "changes", shot.how);
    report_text(json, "trouble", shot.trouble);
    json_close(json, '}');
}

/* Write what a rollback may go back to, and whether one holds. */
static void report_history(const struct history *history, struct json_writer *json)
{
    if (history->pinned)
        json_number(json, "pinned", history->serves);
    json_open(json, "kept", '[');
    for (unsigned i = 0; i < history->count; i++) {
        json_open(json, NULL, '{');
        json_number(json, "generation", history->versions[i].number);
        json_text(json, "version", history->versions[i].name);
        json_close(json, '}');
    }
    json_close(json, ']');
}

void report_plugins(const struct registry *registry, struct json_writer *json)
{
    json_open(json, "plugins", '[');
    for (unsigned i = 0; i < registry_count(registry); i++) {
        const struct deployment *deployment = registry_deployment(registry, i);
        struct deployment_snapshot shot;
        if (deployment_is_removed(deployment) && deployment_is_empty(deployment))
            continue;
        deployment_snapshot(deployment, &shot);
        json_open(json, NULL, '{');
        json_text(json, "name", shot.name);
        report_text(json, "file", shot.file);
        json_text(json, "state", shot.state);
        report_text(json, "last_error", shot.reason);
        json_number(json, "queued_runs", shot.queued_runs);
        if (shot.swap_waits)
            json_flag(json, "swap_waits", true);
        json_number(json, "current", shot.current ? generation_number(shot.current) : 0);
        report_history(shot.history, json);
        json_open(json, "generations", '[');
        for (unsigned at = 0; at < shot.generations; at++)
            report_generation(deployment_generation(deployment, at), json);
        json_close(json, ']');
        json_close(json, '}');
    }
    json_close(json, ']');
}

static void report_agent(const struct deployment *deployment, struct json_writer *json)
{
    struct deployment_snapshot shot;
    struct generation_snapshot current;

    deployment_snapshot(deployment, &shot);
    json_open(json, NULL, '{');
    json_text(json, "name", shot.name);
    json_text(json, "state", shot.state);
    if (shot.current) {
        generation_snapshot(shot.current, &current);
        report_text(json, "version", current.version);
        json_number(json, "generation", current.number);
        report_text(json, "description", current.description);
        report_text(json, "mode", current.mode);
        json_number(json, "live_runs", current.live_runs);
        json_number(json, "stray_emits", current.stray_emits);
        json_number(json, "refused", current.refused_calls);
    }
    if (!shot.serves)
        report_text(json, "reason", deployment_reason(deployment));
    json_close(json, '}');
}

void report_agents(const struct registry *registry, struct buf *out)
{
    struct json_writer json = {.out = out};

    json_open(&json, NULL, '{');
    json_open(&json, "agents", '[');
    for (unsigned i = 0; i < registry_count(registry); i++) {
        if (!deployment_is_removed(registry_deployment(registry, i)))
            report_agent(registry_deployment(registry, i), &json);
    }
    json_close(&json, ']');
    json_close(&json, '}');
}

/* Write the words that stand between commas as a list. */
static void report_tags(const char *tags, struct json_writer *json)
{
    json_open(json, "tags", '[');
    for (; tags; tags = strchr(tags, ',') ? strchr(tags, ',') + 1 : NULL) {
        size_t blank = strspn(tags, " "), length = strcspn(tags + blank, ",");
        char *word;

        while (length > 0 && tags[blank + length - 1] == ' ')
            length--;
        word = mem_copy(tags + blank, length + 1);
        word[length] = '\0';
        report_text(json, NULL, word);
        free(word);
    }
    json_close(json, ']');
}

static void report_schema(struct json_writer *json, const char *name,
                          const struct json_schema *schema)
{
    if (schema)
        json_raw(json, name, json_schema_text(schema), strlen(json_schema_text(schema)));
}

static void report_protocols(const struct deployment *deployment, struct json_writer *json)
{
    const char *names = deployment_settings(deployment)->protocols;
    size_t length;

    json_open(json, "protocols", '[');
    for (; (length = setting_word(&names)) > 0; names += length) {
        char *name = mem_copy(names, length);
        json_text(json, NULL, name);
        free(name);
    }
    json_close(json, ']');
}

void report_agent_card(const struct deployment *deployment, struct buf *out)
{
    struct json_writer json = {.out = out};
    const struct card *card = deployment_card(deployment);
    struct deployment_snapshot shot;
    struct generation_snapshot current;

    deployment_snapshot(deployment, &shot);
    json_open(&json, NULL, '{');
    json_text(&json, "name", shot.name);
    json_text(&json, "state", shot.state);
    if (!shot.serves)
        report_text(&json, "reason", deployment_reason(deployment));
    report_protocols(deployment, &json);
    if (shot.current) {
        generation_snapshot(shot.current, &current);
        report_text(&json, "version", current.version);
        json_number(&json, "generation", current.number);
        report_text(&json, "title", card->title);
        report_text(&json, "description", current.description);
        report_schema(&json, "input_schema", card->input);
        report_schema(&json, "output_schema", card->output);
        if (card->examples)
            json_raw(&json, "examples", card->examples, strlen(card->examples));
        if (card->tags)
            report_tags(card->tags, &json);
    }
    json_close(&json, '}');
}
