#include "base/json_tree.h"

#include "base/json.h"
#include "base/mem.h"

#include <errno.h>
#include <locale.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct reading {
    struct json_tree *tree;
    const char *at, *end;
    uint32_t capacity, most;
    char *free; /* in tree->unescaped */
    locale_t c;
    unsigned depth;
    uint32_t open[JSON_DEPTH_MAX]; /* the arrays and objects around what is read */
};

/* Return a new value, or NULL with *status set. */
static struct json_value *add(struct reading *r, enum json_kind kind, int *status)
{
    struct json_tree *tree = r->tree;
    struct json_value *value;

    if (tree->count == r->capacity) {
        uint32_t capacity = r->capacity ? 2 * r->capacity : 16;
        if (tree->count >= r->most) {
            *status = -E2BIG;
            return NULL;
        }
        capacity = capacity < r->most ? capacity : r->most;
        value = mem_try_realloc(tree->values, capacity * sizeof *value);
        if (value == NULL) {
            *status = -ENOMEM;
            return NULL;
        }
        tree->values = value;
        r->capacity = capacity;
    }
    value = &tree->values[tree->count++];
    *value = (struct json_value){.kind = (uint8_t)kind, .span = 1};
    if (r->depth > 0) /* an object's names too, which are half of what it holds */
        tree->values[r->open[r->depth - 1]].size++;
    return value;
}

static int read_string(struct reading *r)
{
    const char *from = r->at + 1, *to = from;
    int status = 0;
    bool escaped = false;
    struct json_value *value;

    while (*to != '"') {
        escaped |= *to == '\\';
        to += *to == '\\' ? 2 : 1;
    }
    r->at = to + 1;
    value = add(r, JSON_string, &status);
    if (value == NULL)
        return status;
    value->text = from;
    value->size = (uint32_t)(to - from);
    if (!escaped)
        return 0;
    if (r->tree->unescaped == NULL) { /* what is left of the text is enough for all its strings */
        r->free = r->tree->unescaped = mem_try_realloc(NULL, (size_t)(r->end - from));
        if (r->free == NULL)
            return -ENOMEM;
    }
    value->text = r->free;
    value->size = (uint32_t)json_unescape(r->free, from, (size_t)(to - from));
    r->free += value->size;
    return 0;
}

static int read_number(struct reading *r)
{
    size_t length = 0;
    struct json_value *value;
    char *copy = NULL;
    int status = 0;

    while (r->at + length < r->end && r->at[length] && strchr("+-.0123456789Ee", r->at[length]))
        length++;
    value = add(r, JSON_number, &status);
    if (value == NULL)
        return status;
    if (r->at + length == r->end) /* nothing ends it for strtod() */
        copy = mem_printf("%.*s", (int)length, r->at);
    value->number = strtod_l(copy ? copy : r->at, NULL, r->c) + 0.0; /* -0 is 0 */
    free(copy);
    r->at += length;
    return 0;
}

static int read_open(struct reading *r, enum json_kind kind)
{
    int status = 0;

    if (r->depth == JSON_DEPTH_MAX)
        return -E2BIG;
    if (add(r, kind, &status) == NULL)
        return status;
    r->open[r->depth++] = r->tree->count - 1;
    r->at++;
    return 0;
}

static int read_close(struct reading *r)
{
    uint32_t at = r->open[--r->depth];
    struct json_value *value = &r->tree->values[at];

    value->span = r->tree->count - at;
    if (value->kind == JSON_object)
        value->size /= 2;
    r->at++;
    return 0;
}

static int read_word(struct reading *r, enum json_kind kind, size_t length)
{
    int status = 0;

    r->at += length;
    return add(r, kind, &status) ? 0 : status;
}

static int read_token(struct reading *r)
{
    switch (*r->at) {
    case '{':
        return read_open(r, JSON_object);
    case '[':
        return read_open(r, JSON_array);
    case '}':
    case ']':
        return read_close(r);
    case '"':
        return read_string(r);
    case 'n':
        return read_word(r, JSON_null, 4);
    case 't':
        return read_word(r, JSON_true, 4);
    case 'f':
        return read_word(r, JSON_false, 5);
    case ',':
    case ':':
    case ' ':
    case '\n':
    case '\r':
    case '\t':
        r->at++;
        return 0;
    default:
        return read_number(r);
    }
}

int json_tree_read(struct json_tree *tree, const char *text, size_t length, uint32_t most)
{
    struct reading r = {.tree = tree, .at = text, .end = text + length, .most = most};
    int status = 0;

    *tree = (struct json_tree){0};
    r.c = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* a plugin may have set another */
    while (r.at < r.end && status == 0)
        status = read_token(&r);
    freelocale(r.c);
    if (status < 0)
        json_tree_finish(tree);
    return status;
}

void json_tree_finish(struct json_tree *tree)
{
    free(tree->values);
    free(tree->unescaped);
    *tree = (struct json_tree){0};
}
