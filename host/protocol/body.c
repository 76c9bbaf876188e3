/*
 * cJSON does not say where an item stands in the text. But the tree has its items in the text's
 * order, so the numbers of both, each in turn, are the same.
 */
#include "protocol/body.h"

#include "base/json.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A place among the items of a tree, each before those in it. */
struct walk {
    cJSON *at;
    cJSON *open[JSON_DEPTH_MAX];
    unsigned depth;
};

static void walk_on(struct walk *walk)
{
    if (walk->at->child) {
        assert(walk->depth < JSON_DEPTH_MAX);
        walk->open[walk->depth++] = walk->at;
        walk->at = walk->at->child;
        return;
    }
    while (walk->at->next == NULL && walk->depth > 0)
        walk->at = walk->open[--walk->depth];
    walk->at = walk->at->next;
}

/* Return the place after the string that begins here, NULL if it has U+0000. */
static const char *skip_string(const char *at)
{
    for (at++; *at != '"'; at++) {
        if (*at != '\\')
            continue;
        if (strncmp(at, "\\u0000", 6) == 0)
            return NULL;
        at++;
    }
    return at + 1;
}

/* The text is valid JSON, so what begins with a digit outside of strings is a number. */
static int keep_texts(cJSON *tree, const char *at, const char *end)
{
    struct walk walk = {.at = tree};
    while (at < end) {
        size_t length = 1;
        if (*at == '"') {
            at = skip_string(at);
            if (at == NULL)
                return -EILSEQ;
            continue;
        }
        if (*at == '-' || (*at >= '0' && *at <= '9')) {
            while (at + length < end && at[length] && strchr("+-.0123456789Ee", at[length]))
                length++;
            while (walk.at->type != cJSON_Number)
                walk_on(&walk);
            walk.at->valuestring = mem_copy(at, length);
            walk.at->type = cJSON_Raw;
            walk_on(&walk);
        }
        at += length;
    }
    return 0;
}

/* Return true if an escape is here whose digits begin with d and one of these. */
static bool is_escape(const char *at, const char *end, const char *seconds)
{
    return end - at >= 6 && at[0] == '\\' && at[1] == 'u' && (at[2] == 'd' || at[2] == 'D') &&
           strchr(seconds, at[3]);
}

/* Return a copy with U+FFFD in the place of each half of a surrogate pair, NULL if there is none.
 */
static char *mend_halves(const char *json, size_t length)
{
    const char *at = json, *end = json + length;
    char *copy = NULL;

    while ((at = memchr(at, '\\', (size_t)(end - at)))) {
        bool is_high = is_escape(at, end, "89abAB");
        if (is_high && is_escape(at + 6, end, "cdefCDEF")) {
            at += 12;
            continue;
        }
        if (is_high || is_escape(at, end, "cdefCDEF")) {
            copy = copy ? copy : mem_copy(json, length);
            memcpy(copy + (at - json) + 2, "fffd", 4);
        }
        at += 2;
    }
    return copy;
}

int body_read(const char *json, size_t length, cJSON **tree)
{
    char *mended = mend_halves(json, length);
    int status;

    *tree = cJSON_ParseWithLength(mended ? mended : json, length);
    free(mended);
    if (*tree == NULL)
        return -EINVAL;
    status = keep_texts(*tree, json, json + length);
    if (status < 0) {
        cJSON_Delete(*tree);
        *tree = NULL;
    }
    return status;
}

bool body_number(const cJSON *item, double *value)
{
    if (!cJSON_IsNumber(item) && !cJSON_IsRaw(item))
        return false;
    *value = item->valuedouble;
    return true;
}
