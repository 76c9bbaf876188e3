#include "worker/instance.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/json_fault.h"
#include "worker/refused.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

int refuse(struct refusal *refusal, int status, const char *step, const char *format, ...)
{
    struct buf text = {0};
    va_list args;

    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    refusal->step = step;
    why_finish(&refusal->why);
    refusal->why.text = buf_steal(&text);
    return status;
}

void refusal_finish(struct refusal *refusal)
{
    why_finish(&refusal->why);
}

static int check_abi(const struct agent_plugin *theirs, struct refusal *refusal)
{
    unsigned major, minor;

    if (theirs == NULL)
        return refuse(refusal, -EINVAL, "abi", "agent_plugin_entry() returned NULL");
    major = theirs->abi >> 16;
    minor = theirs->abi & 0xffff;
    if (major != AGENT_ABI_MAJOR || minor > AGENT_ABI_MINOR)
        return refuse(refusal, -EINVAL, "abi",
                      "it was built for ABI %u.%u, wanted is %u.0 to %u.%u; "
                      "build it with this host's agent.h",
                      major, minor, AGENT_ABI_MAJOR, AGENT_ABI_MAJOR, AGENT_ABI_MINOR);
    if (theirs->size < offsetof(struct agent_plugin, save_state))
        return refuse(refusal, -EINVAL, "abi",
                      "its struct agent_plugin has %zu bytes, wanted are %zu", theirs->size,
                      sizeof *theirs);
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

static int check_members(const struct agent_plugin *info, struct refusal *refusal)
{
    const char *missing = info->name == NULL      ? "name"
                          : info->version == NULL ? "version"
                          : info->handle == NULL  ? "handle"
                                                  : NULL;

    if (missing)
        return refuse(refusal, -EINVAL, "abi", "the member %s of AGENT_PLUGIN() is not set",
                      missing);
    if (!name_is_valid(info->name))
        return refuse(refusal, -EINVAL, "abi",
                      "the name '%s' is not 1 to %d of letters, digits, '-', '_' and '.', with "
                      "no '.' first",
                      info->name, AGENT_NAME_MAX);
    if (info->mode > AGENT_FIBER)
        return refuse(refusal, -EINVAL, "abi", "mode %d is neither AGENT_THREAD nor AGENT_FIBER",
                      (int)info->mode);
    return 0;
}

static int make_card(struct instance *instance, struct refusal *refusal)
{
    const struct agent_plugin *info = &instance->info;
    struct card_texts texts = {.title = info->title,
                               .input_schema = info->input_schema,
                               .output_schema = info->output_schema,
                               .examples = info->examples,
                               .tags = info->tags};
    struct why why = {0};
    int status = card_make(&instance->card, &texts, &why);

    if (status < 0)
        refuse(refusal, status, "declare", "%s", why_text(&why));
    why_finish(&why);
    return status;
}

int instance_declare(struct instance *instance, const struct agent_plugin *theirs,
                     struct refusal *refusal)
{
    int status = check_abi(theirs, refusal);

    if (status < 0)
        return status;
    memcpy(&instance->info, theirs,
           theirs->size < sizeof instance->info ? theirs->size : sizeof instance->info);
    status = check_members(&instance->info, refusal);
    if (status == 0)
        status = make_card(instance, refusal);
    if (status < 0)
        instance->info = (struct agent_plugin){0};
    return status;
}

/* Refuse it for what create() or selftest() returned, and for the call that failed with that. */
static int refuse_return(struct refusal *refusal, int status, const char *step)
{
    char *reason = refused_outside(status);

    refuse(refusal, status, step, "%s() returned %d (%s)%s%s", step, status, refused_word(status),
           reason ? ": " : "", reason ? reason : "");
    free(reason);
    return status;
}

int instance_create(struct instance *instance, const char *config, const char *state,
                    struct refusal *refusal)
{
    const struct agent_plugin *info = &instance->info;
    int status;

    if (info->create && (status = info->create(config, state, &instance->self)) < 0)
        return refuse_return(refusal, status, "create");
    instance->created = true;
    if (info->selftest && (status = info->selftest(instance->self)) < 0)
        return refuse_return(refusal, status, "selftest");
    return 0;
}

int instance_handle(const struct instance *instance, const char *input)
{
    return instance->info.handle(instance->self, input);
}

int instance_save_state(const struct instance *instance, char **state, struct buf *why)
{
    char *saved = instance->created && instance->info.save_state
                      ? instance->info.save_state(instance->self)
                      : NULL;
    ssize_t length = saved ? json_check(saved, strlen(saved)) : 0;

    if (length < 0) {
        buf_puts(why, "what is ");
        json_fault_tell(why, saved, strlen(saved));
    } else if (length > AGENT_STATE_MAX) {
        buf_printf(why, "%zd bytes, and a state may have %d", length, AGENT_STATE_MAX);
    }
    if (length < 0 || length > AGENT_STATE_MAX) {
        free(saved);
        return length < 0 ? -EINVAL : -EMSGSIZE;
    }
    if (saved)
        saved[json_compact(saved, saved, strlen(saved))] = '\0';
    *state = saved;
    return 0;
}

void instance_destroy(struct instance *instance)
{
    if (instance->created && instance->info.destroy)
        instance->info.destroy(instance->self);
    instance->created = false;
    instance->self = NULL;
    card_finish(&instance->card);
}
