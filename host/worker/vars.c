#include "worker/vars.h"

#include "agent.h"
#include "base/mem.h"

#include <string.h>

const char *vars_find(const struct var *vars, const char *key)
{
    for (; vars; vars = vars->next) {
        if (strcmp(vars->key, key) == 0)
            return vars->value;
    }
    return NULL;
}

bool vars_key_is_valid(const char *key)
{
    size_t length = strlen(key);

    for (const char *p = key; *p; p++) {
        if (*p <= ' ' || *p >= 0x7f)
            return false;
    }
    return length > 0 && length <= AGENT_CTX_KEY_MAX;
}

bool vars_key_is_host(const char *key)
{
    static const char *const prefixes[] = {"run.", "plugin.", "auth.", "request."};

    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        if (strncmp(key, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    }
    return strcmp(key, "input") == 0 || strcmp(key, "traceparent") == 0;
}

size_t vars_size(const char *key, const char *value)
{
    return sizeof(struct var) + strlen(key) + 1 + (value ? strlen(value) + 1 : 0);
}

struct var *vars_push(const struct var *vars, const char *key, const char *value)
{
    struct var *var = mem_alloc(vars_size(key, value));
    char *text = (char *)(var + 1);

    var->next = vars;
    var->key = strcpy(text, key);
    if (value)
        var->value = strcpy(text + strlen(key) + 1, value);
    return var;
}
