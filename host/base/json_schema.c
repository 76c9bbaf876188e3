/*
 * How it is done. A schema's text becomes a tree (json_tree.h), and each schema in it a part,
 * which has what its keywords say where checking wants it:
 *
 *   1. every schema is read by the table of keywords; a keyword that is not there is refused;
 *   2. each $ref is followed to the part that it names;
 *   3. a part that leads to itself without going down in the value is refused: $ref, allOf,
 *      anyOf, oneOf, not, if and dependentSchemas look at the same value.
 *
 * A check walks the value's tree and the parts together. Each part that a value is checked
 * with, each value that is looked at and each 64 bytes that are compared cost a step; when no
 * step is left, everything returns at once. The walk is at most DEPTH_MAX parts deep: a text has
 * JSON_DEPTH_MAX levels, and a part may lead through others on the same level.
 *
 * Most failures are nobody's: a branch of anyOf that does not match is no reason. So branches
 * are tried without words, and note only how deep in the value they have failed. If all fail,
 * that which came furthest is most likely meant, and is tried again with words.
 *
 * Whether values are the same is asked of their canonical bytes: kind, size, content, members
 * sorted by name. uniqueItems sorts its items by them.
 *
 * To add a keyword: a line in keywords[], a member of struct part, its check, and the list in
 * json_schema.h.
 */
#include "base/json_schema.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/json_fault.h"
#include "base/json_tree.h"
#include "base/mem.h"
#include "base/why.h"

#include <assert.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 1600 /* parts inside parts; with JSON_DEPTH_MAX levels, three a level */
#define WORD_MAX  60   /* bytes of a string in words */

enum type {
    TYPE_null = 1,
    TYPE_boolean = 2,
    TYPE_integer = 4,
    TYPE_number = 8,
    TYPE_string = 16,
    TYPE_array = 32,
    TYPE_object = 64,
};

static const struct {
    const char *name, *words;
    unsigned type;
} types[] = {
    {"object", "an object", TYPE_object}, {"array", "an array", TYPE_array},
    {"string", "a string", TYPE_string},  {"integer", "an integer", TYPE_integer},
    {"number", "a number", TYPE_number},  {"boolean", "true or false", TYPE_boolean},
    {"null", "null", TYPE_null},
};

struct part;

struct number {
    bool is_set;
    double value;
};

struct parts {
    uint32_t count;
    struct part **list;
    const struct json_value **names; /* of each, sorted; NULL in a list */
};

struct names {
    uint32_t count;
    const struct json_value *list; /* strings, one after the other */
};

/* The canonical bytes of values, and where each begins. */
struct canon {
    struct buf bytes;
    uint32_t count;
    size_t *ends;
};

/* A schema. What its keywords do not say is NULL, unset or empty. */
struct part {
    bool is_false;
    bool is_checked; /* for circles */
    bool is_open;    /* a circle leads here */
    bool unique_items;
    unsigned types; /* 0: any */
    const struct json_value *ref_text;
    const struct json_value *values, *constant; /* for words */
    struct canon values_canon, constant_canon;
    struct number minimum, maximum, above, below, multiple_of;
    struct number min_length, max_length, min_items, max_items, min_contains, max_contains,
        min_properties, max_properties;
    struct names required;
    const struct json_value *dependent_required;
    struct part *ref, *not, *when, *then, *otherwise, *items, *contains, *additional,
        *property_names;
    struct parts all_of, any_of, one_of, prefix_items, properties, dependent;
};

struct json_schema {
    char *text;
    char *only; /* see json_schema_only_string() */
    struct json_tree tree;
    struct part **parts;
    uint32_t count;
};

/* ---- words --------------------------------------------------------------- */

/* Where a value is: the way from it up to the whole. */
struct place {
    const struct place *above;
    const struct json_value *name; /* of a member; NULL: an item */
    uint32_t index;
    unsigned depth; /* of the value; 0 is the whole */
};

static void tell_string(struct buf *out, const struct json_value *string, size_t most)
{
    char *text = mem_copy(string->text, string->size < most + 4 ? string->size : most + 4);

    for (size_t i = 0; i < string->size && i < most + 4; i++) {
        if (text[i] == '\0')
            text[i] = '?';
    }
    foreign_tell(out, text, most);
    free(text);
}

static void tell_step(struct buf *out, const struct place *place)
{
    struct buf name = {0};
    char *text;

    buf_puts(out, "/");
    if (place->name == NULL) {
        buf_number(out, place->index);
        return;
    }
    tell_string(&name, place->name, WORD_MAX);
    text = buf_steal(&name);
    for (const char *p = text; *p; p++) {
        if (*p == '~' || *p == '/')
            buf_puts(out, *p == '~' ? "~0" : "~1");
        else
            buf_append(out, p, 1);
    }
    free(text);
}

/* Append the place as a JSON Pointer; in the middle of a long one, …. */
static void tell_place(struct buf *out, const struct place *place)
{
    const struct place *way[8];
    unsigned first = 0;

    for (const struct place *p = place; p && p->depth > 0; p = p->above) {
        if (p->depth <= 4)
            way[p->depth - 1] = p;
        else if (place->depth - p->depth < 4)
            way[7 - (place->depth - p->depth)] = p;
    }
    buf_puts(out, "at \"");
    for (; first < 4 && first < place->depth; first++)
        tell_step(out, way[first]);
    if (place->depth > 8)
        buf_puts(out, "/…");
    for (unsigned depth = place->depth > 8 ? place->depth - 3 : 5; depth <= place->depth; depth++)
        tell_step(out, way[7 - (place->depth - depth)]);
    buf_puts(out, "\"");
}

static void tell_value(struct buf *out, const struct json_value *value)
{
    char number[32];

    switch ((enum json_kind)value->kind) {
    case JSON_null:
        buf_puts(out, "null");
        return;
    case JSON_false:
    case JSON_true:
        buf_puts(out, value->kind == JSON_true ? "true" : "false");
        return;
    case JSON_number:
        snprintf(number, sizeof number, "%.15g", value->number);
        if (strtod(number, NULL) != value->number)
            snprintf(number, sizeof number, "%.17g", value->number);
        buf_puts(out, number);
        return;
    case JSON_string:
        buf_puts(out, "\"");
        tell_string(out, value, WORD_MAX);
        buf_puts(out, "\"");
        return;
    case JSON_array:
        buf_printf(out, value->size ? "an array of %u" : "an empty array", value->size);
        return;
    case JSON_object:
        buf_printf(out, value->size ? "an object with %u member%s" : "an empty object", value->size,
                   value->size > 1 ? "s" : "");
        return;
    }
}

/* Append the types, such as "a string or null". */
static void tell_types(struct buf *out, unsigned wanted)
{
    bool any = false;

    if (wanted & TYPE_number)
        wanted &= ~(unsigned)TYPE_integer;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (!(wanted & types[i].type))
            continue;
        wanted &= ~types[i].type;
        buf_printf(out, "%s%s", !any ? "" : wanted ? ", " : " or ", types[i].words);
        any = true;
    }
}

/* Append some of the values in the array. */
static void tell_values(struct buf *out, const struct json_value *array)
{
    const struct json_value *value = array + 1;

    buf_puts(out, array->size > 1 ? "one of " : "");
    for (uint32_t i = 0; i < array->size; i++, value += value->span) {
        if (i == 8) {
            buf_printf(out, ", … (%u values)", array->size);
            return;
        }
        buf_puts(out, i ? ", " : "");
        tell_value(out, value);
    }
}

/* ---- canonical bytes ------------------------------------------------------ */

/* Return the most bytes that a value's canonical form may have. */
static size_t canon_most(const struct json_value *value)
{
    size_t most = 0;

    for (uint32_t i = 0; i < value->span; i++)
        most += 1 + sizeof(double) + (value[i].kind == JSON_string ? value[i].size : 0);
    return most;
}

static int compare_strings(const struct json_value *a, const struct json_value *b)
{
    int order = memcmp(a->text, b->text, a->size < b->size ? a->size : b->size);

    return order ? order : (a->size > b->size) - (a->size < b->size);
}

static int compare_names(const void *a, const void *b)
{
    const struct json_value *const *one = a, *const *other = b;
    int order = compare_strings(*one, *other);

    return order ? order : (*one > *other) - (*one < *other);
}

/* There is room. -ENOMEM if an object's names cannot be sorted. */
static int canon_put(struct buf *out, const struct json_value *value)
{
    const struct json_value *child = value + 1;
    const struct json_value **names;
    int status = 0;

    buf_append(out, &value->kind, 1);
    if (value->kind == JSON_number)
        buf_append(out, &value->number, sizeof value->number);
    if (value->kind >= JSON_string)
        buf_append(out, &value->size, sizeof value->size);
    if (value->kind == JSON_string)
        buf_append(out, value->text, value->size);
    if (value->kind == JSON_array) {
        for (uint32_t i = 0; i < value->size && status == 0; i++, child += child->span)
            status = canon_put(out, child);
    }
    if (value->kind != JSON_object || value->size == 0)
        return status;
    names = mem_try_realloc(NULL, value->size * sizeof(struct json_value *));
    if (names == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < value->size; i++, child = child + 1 + child[1].span)
        names[i] = child;
    qsort(names, value->size, sizeof(struct json_value *), compare_names);
    for (uint32_t i = 0; i < value->size && status == 0; i++) {
        canon_put(out, names[i]);
        status = canon_put(out, names[i] + 1);
    }
    free(names);
    return status;
}

/* Take these `count` values, which stand one after the other. -ENOMEM. */
static int canon_make(struct canon *canon, const struct json_value *values, uint32_t count)
{
    const struct json_value *value = values;
    size_t most = 0;
    int status = 0;

    *canon = (struct canon){.count = count};
    for (uint32_t i = 0; i < count; i++, value += value->span)
        most += canon_most(value);
    canon->ends = mem_try_realloc(NULL, (count + 1) * sizeof *canon->ends);
    if (canon->ends == NULL || !buf_try_reserve(&canon->bytes, most + 1))
        status = -ENOMEM;
    value = values;
    for (uint32_t i = 0; i < count && status == 0; i++, value += value->span) {
        status = canon_put(&canon->bytes, value);
        canon->ends[i] = buf_length(&canon->bytes);
    }
    return status;
}

static void canon_finish(struct canon *canon)
{
    buf_finish(&canon->bytes);
    free(canon->ends);
}

/* Return the bytes of one of the values. */
static const char *canon_of(const struct canon *canon, uint32_t index, size_t *length)
{
    size_t from = index ? canon->ends[index - 1] : 0;

    *length = canon->ends[index] - from;
    return buf_data(&canon->bytes) + from;
}

/* ---- reading a schema ----------------------------------------------------- */

enum shape {
    SHAPE_schema,
    SHAPE_schemas,
    SHAPE_members, /* an object of schemas */
    SHAPE_places,  /* the same, and only $ref leads there */
    SHAPE_count,
    SHAPE_number,
    SHAPE_factor,
    SHAPE_flag,
    SHAPE_names,
    SHAPE_name_lists, /* an object of names */
    SHAPE_types,
    SHAPE_value,
    SHAPE_values,
    SHAPE_ref,
    SHAPE_dialect,
    SHAPE_id,
    SHAPE_note,
};

#define AT(member) offsetof(struct part, member)

static const struct keyword {
    const char *name;
    enum shape shape;
    size_t offset;
} keywords[] = {
    {"$comment", SHAPE_note, 0},
    {"$defs", SHAPE_places, 0},
    {"$id", SHAPE_id, 0},
    {"$ref", SHAPE_ref, 0},
    {"$schema", SHAPE_dialect, 0},
    {"additionalProperties", SHAPE_schema, AT(additional)},
    {"allOf", SHAPE_schemas, AT(all_of)},
    {"anyOf", SHAPE_schemas, AT(any_of)},
    {"const", SHAPE_value, 0},
    {"contains", SHAPE_schema, AT(contains)},
    {"contentEncoding", SHAPE_note, 0},
    {"contentMediaType", SHAPE_note, 0},
    {"contentSchema", SHAPE_note, 0},
    {"default", SHAPE_note, 0},
    {"definitions", SHAPE_places, 0},
    {"dependentRequired", SHAPE_name_lists, AT(dependent_required)},
    {"dependentSchemas", SHAPE_members, AT(dependent)},
    {"deprecated", SHAPE_note, 0},
    {"description", SHAPE_note, 0},
    {"else", SHAPE_schema, AT(otherwise)},
    {"enum", SHAPE_values, 0},
    {"enumNames", SHAPE_note, 0},
    {"examples", SHAPE_note, 0},
    {"exclusiveMaximum", SHAPE_number, AT(below)},
    {"exclusiveMinimum", SHAPE_number, AT(above)},
    {"format", SHAPE_note, 0},
    {"if", SHAPE_schema, AT(when)},
    {"items", SHAPE_schema, AT(items)},
    {"maxContains", SHAPE_count, AT(max_contains)},
    {"maxItems", SHAPE_count, AT(max_items)},
    {"maxLength", SHAPE_count, AT(max_length)},
    {"maxProperties", SHAPE_count, AT(max_properties)},
    {"maximum", SHAPE_number, AT(maximum)},
    {"minContains", SHAPE_count, AT(min_contains)},
    {"minItems", SHAPE_count, AT(min_items)},
    {"minLength", SHAPE_count, AT(min_length)},
    {"minProperties", SHAPE_count, AT(min_properties)},
    {"minimum", SHAPE_number, AT(minimum)},
    {"multipleOf", SHAPE_factor, AT(multiple_of)},
    {"not", SHAPE_schema, AT(not )},
    {"oneOf", SHAPE_schemas, AT(one_of)},
    {"prefixItems", SHAPE_schemas, AT(prefix_items)},
    {"properties", SHAPE_members, AT(properties)},
    {"propertyNames", SHAPE_schema, AT(property_names)},
    {"readOnly", SHAPE_note, 0},
    {"required", SHAPE_names, AT(required)},
    {"then", SHAPE_schema, AT(then)},
    {"title", SHAPE_note, 0},
    {"type", SHAPE_types, 0},
    {"uniqueItems", SHAPE_flag, AT(unique_items)},
    {"writeOnly", SHAPE_note, 0},
};

struct reading {
    struct json_schema *schema;
    struct part **of; /* the part of each value of the tree, or NULL */
    struct why *why;
};

__attribute__((format(printf, 3, 4))) static int
bad(const struct reading *r, const struct place *place, const char *format, ...)
{
    struct buf text = {0};
    va_list args;

    tell_place(&text, place);
    buf_puts(&text, ": ");
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    why_set(r->why, 0, "%.*s", (int)buf_length(&text), buf_data(&text));
    buf_finish(&text);
    return -EINVAL;
}

/* Refuse a keyword's value. */
static int bad_value(const struct reading *r, const struct place *place,
                     const struct keyword *keyword, const struct json_value *value,
                     const char *wanted)
{
    struct buf found = {0};
    int status;

    tell_value(&found, value);
    status = bad(r, place, "the keyword \"%s\" wants %s, found %.*s", keyword->name, wanted,
                 (int)buf_length(&found), buf_data(&found));
    buf_finish(&found);
    return status;
}

static bool is_text(const struct json_value *value, const char *text)
{
    return value->kind == JSON_string && value->size == strlen(text) &&
           memcmp(value->text, text, value->size) == 0;
}

static struct place place_of(const struct place *above, const struct json_value *name,
                             uint32_t index)
{
    return (struct place){above, name, index, above->depth + 1};
}

static int read_part(struct reading *r, const struct json_value *value, const struct place *place,
                     struct part **out);

static int read_schemas(struct reading *r, const struct json_value *value,
                        const struct place *place, const struct keyword *keyword,
                        struct parts *parts)
{
    const struct json_value *child = value + 1;

    if (value->kind != JSON_array || value->size == 0)
        return bad_value(r, place, keyword, value, "a list of schemas that is not empty");
    parts->list = mem_alloc(value->size * sizeof *parts->list);
    for (; parts->count < value->size; parts->count++, child += child->span) {
        struct place there = place_of(place, NULL, parts->count);
        int status = read_part(r, child, &there, &parts->list[parts->count]);
        if (status < 0)
            return status;
    }
    return 0;
}

static int read_members(struct reading *r, const struct json_value *value,
                        const struct place *place, const struct keyword *keyword,
                        struct parts *parts)
{
    const struct json_value *name = value + 1;

    if (value->kind != JSON_object)
        return bad_value(r, place, keyword, value, "an object of schemas");
    parts->names = mem_alloc((value->size + 1) * sizeof(struct json_value *));
    parts->list = mem_alloc((value->size + 1) * sizeof *parts->list);
    for (; parts->count < value->size; parts->count++, name += 1 + name[1].span) {
        struct place there = place_of(place, name, 0);
        int status = read_part(r, name + 1, &there, &parts->list[parts->count]);
        if (status < 0)
            return status;
        parts->names[parts->count] = name;
    }
    qsort(parts->names, parts->count, sizeof(struct json_value *), compare_names);
    for (uint32_t i = 0; i < parts->count; i++) {
        struct place there = place_of(place, parts->names[i], 0);
        if (i > 0 && compare_strings(parts->names[i - 1], parts->names[i]) == 0)
            return bad(r, &there, "it stands there twice");
        parts->list[i] = r->of[parts->names[i] + 1 - r->schema->tree.values];
    }
    return 0;
}

static int read_names(struct reading *r, const struct json_value *value, const struct place *place,
                      const struct keyword *keyword)
{
    bool are_names = value->kind == JSON_array;

    for (uint32_t i = 1; are_names && i < value->span; i++)
        are_names = value[i].kind == JSON_string;
    return are_names ? 0 : bad_value(r, place, keyword, value, "a list of names of members");
}

static int read_name_lists(struct reading *r, const struct json_value *value,
                           const struct place *place, const struct keyword *keyword)
{
    const struct json_value *name = value + 1;
    int status = 0;

    if (value->kind != JSON_object)
        return bad_value(r, place, keyword, value, "an object of lists of names");
    for (uint32_t i = 0; i < value->size && status == 0; i++, name += 1 + name[1].span)
        status = read_names(r, name + 1, place, keyword);
    return status;
}

static int read_types(struct reading *r, const struct json_value *value, const struct place *place,
                      const struct keyword *keyword, unsigned *wanted)
{
    static const char wants[] =
        "\"object\", \"array\", \"string\", \"integer\", \"number\", \"boolean\", \"null\", or a "
        "list of some of them";
    const struct json_value *type = value->kind == JSON_array ? value + 1 : value;

    if (value->kind == JSON_array && value->size == 0)
        return bad_value(r, place, keyword, value, wants);
    for (; type < value + value->span; type += type->span) {
        size_t i = 0;
        while (i < sizeof types / sizeof *types && !is_text(type, types[i].name))
            i++;
        if (i == sizeof types / sizeof *types)
            return bad_value(r, place, keyword, type, wants);
        *wanted |= types[i].type;
    }
    return 0;
}

static bool is_integer(double number)
{
    double whole;

    return modf(number, &whole) == 0;
}

static int read_number(struct reading *r, const struct json_value *value, const struct place *place,
                       const struct keyword *keyword, struct number *number)
{
    double n = value->kind == JSON_number ? value->number : -1;

    if (keyword->shape == SHAPE_count && (n < 0 || !is_integer(n)))
        return bad_value(r, place, keyword, value, "an integer that is not negative");
    if (keyword->shape == SHAPE_factor && n <= 0)
        return bad_value(r, place, keyword, value, "a number above 0");
    if (value->kind != JSON_number)
        return bad_value(r, place, keyword, value, "a number");
    *number = (struct number){true, n};
    return 0;
}

/* Read what a keyword says. */
static int read_keyword(struct reading *r, struct part *part, const struct keyword *keyword,
                        const struct json_value *value, const struct place *place)
{
    void *member = (char *)part + keyword->offset;
    struct parts places = {0};
    int status = 0;

    switch (keyword->shape) {
    case SHAPE_schema:
        return read_part(r, value, place, member);
    case SHAPE_schemas:
        return read_schemas(r, value, place, keyword, member);
    case SHAPE_members:
        return read_members(r, value, place, keyword, member);
    case SHAPE_places:
        status = read_members(r, value, place, keyword, &places);
        free(places.list);
        free(places.names);
        return status;
    case SHAPE_count:
    case SHAPE_number:
    case SHAPE_factor:
        return read_number(r, value, place, keyword, member);
    case SHAPE_flag:
        if (value->kind != JSON_true && value->kind != JSON_false)
            return bad_value(r, place, keyword, value, "true or false");
        part->unique_items = value->kind == JSON_true;
        return 0;
    case SHAPE_names:
        part->required = (struct names){value->size, value + 1};
        return read_names(r, value, place, keyword);
    case SHAPE_name_lists:
        part->dependent_required = value;
        return read_name_lists(r, value, place, keyword);
    case SHAPE_types:
        return read_types(r, value, place, keyword, &part->types);
    case SHAPE_values:
        if (value->kind != JSON_array)
            return bad_value(r, place, keyword, value, "a list of values");
        part->values = value;
        return 0;
    case SHAPE_value:
        part->constant = value;
        return 0;
    case SHAPE_ref:
        if (value->kind != JSON_string)
            return bad_value(r, place, keyword, value, "a string");
        part->ref_text = value;
        return 0;
    case SHAPE_dialect:
        if (place->depth > 1 || value->kind != JSON_string || value->size < 44 ||
            memcmp(value->text, "https://json-schema.org/draft/2020-12/schema", 44) != 0)
            return bad_value(r, place, keyword, value,
                             "\"https://json-schema.org/draft/2020-12/schema\", in the outermost "
                             "schema");
        return 0;
    case SHAPE_id:
        if (place->depth > 1 || value->kind != JSON_string)
            return bad_value(r, place, keyword, value, "a string, in the outermost schema");
        return 0;
    case SHAPE_note:
        return 0;
    }
    return 0;
}

static int compare_keyword(const void *name, const void *keyword)
{
    const struct json_value *wanted = name;
    const char *known = ((const struct keyword *)keyword)->name;
    struct json_value there = {.size = (uint32_t)strlen(known), .text = known};

    return compare_strings(wanted, &there);
}

static int read_keywords(struct reading *r, struct part *part, const struct json_value *value,
                         const struct place *place)
{
    const struct json_value *name = value + 1;
    uint64_t seen = 0;
    int status = 0;

    assert(sizeof keywords / sizeof *keywords <= 64);
    for (uint32_t i = 0; i < value->size && status == 0; i++, name += 1 + name[1].span) {
        const struct keyword *keyword = bsearch(name, keywords, sizeof keywords / sizeof *keywords,
                                                sizeof *keywords, compare_keyword);
        struct place there = place_of(place, name, 0);
        struct buf text = {0};

        if (keyword == NULL && name->size > 2 && memcmp(name->text, "x-", 2) == 0)
            continue;
        if (keyword == NULL) {
            tell_string(&text, name, WORD_MAX);
            status = bad(r, place,
                         "the keyword \"%.*s\" is not among those that sluice checks; leave it "
                         "out, or call a note of your own x-%.*s",
                         (int)buf_length(&text), buf_data(&text), (int)buf_length(&text),
                         buf_data(&text));
            buf_finish(&text);
        } else if (seen & UINT64_C(1) << (keyword - keywords)) {
            status = bad(r, place, "the keyword \"%s\" stands there twice", keyword->name);
        } else {
            seen |= UINT64_C(1) << (keyword - keywords);
            status = read_keyword(r, part, keyword, name + 1, &there);
        }
    }
    return status;
}

/* Make a part of a schema. What was made before a failure is freed with the schema. */
static int read_part(struct reading *r, const struct json_value *value, const struct place *place,
                     struct part **out)
{
    struct json_schema *schema = r->schema;
    struct part *part;
    int status = 0;

    if (value->kind != JSON_object && value->kind != JSON_true && value->kind != JSON_false) {
        struct buf found = {0};
        tell_value(&found, value);
        status = bad(r, place, "a schema is an object, true or false, found %.*s",
                     (int)buf_length(&found), buf_data(&found));
        buf_finish(&found);
        return status;
    }
    if (schema->count == JSON_SCHEMA_PARTS)
        return bad(r, place, "a schema may have %u schemas in it, and this one has more",
                   JSON_SCHEMA_PARTS);
    part = schema->parts[schema->count++] = mem_alloc(sizeof *part);
    r->of[value - schema->tree.values] = part;
    *out = part;
    part->is_false = value->kind == JSON_false;
    if (value->kind == JSON_object)
        status = read_keywords(r, part, value, place);
    if (status == 0 && part->values)
        status = canon_make(&part->values_canon, part->values + 1, part->values->size);
    if (status == 0 && part->constant)
        status = canon_make(&part->constant_canon, part->constant, 1);
    return status;
}

static int hex_of(char digit)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    const char *found = digit ? strchr(digits, digit) : NULL;

    return found ? (int)(found - digits) % 16 : -1;
}

/*
 * Take the next step of a JSON Pointer in a URI's fragment: decode it into `step`, which has
 * room for what is left. Return what comes after it, or NULL if it is malformed.
 */
static const char *pointer_step(const char *at, const char *end, char *step, uint32_t *length)
{
    *length = 0;
    for (at++; at < end && *at != '/'; at++) {
        char c = *at;
        if (c == '%') {
            int high = at + 2 < end ? hex_of(at[1]) : -1, low = high < 0 ? -1 : hex_of(at[2]);
            if (low < 0)
                return NULL;
            c = (char)(high * 16 + low);
            at += 2;
        }
        if (*length > 0 && step[*length - 1] == '~' && (c == '0' || c == '1'))
            step[*length - 1] = c == '0' ? '\a' : '/'; /* '\a' becomes '~' below: ~01 is ~1 */
        else
            step[(*length)++] = c;
    }
    for (uint32_t i = 0; i < *length; i++)
        step[i] = step[i] == '\a' ? '~' : step[i];
    return at;
}

/* Return the child that a step of a pointer names, or NULL. */
static const struct json_value *child_of(const struct json_value *value, const char *step,
                                         uint32_t length)
{
    const struct json_value *child = value + 1;
    struct json_value name = {.size = length, .text = step};
    uint64_t index = 0;

    if (value->kind == JSON_object) {
        for (uint32_t i = 0; i < value->size; i++, child += 1 + child[1].span) {
            if (compare_strings(child, &name) == 0)
                return child + 1;
        }
        return NULL;
    }
    if (value->kind != JSON_array || length == 0 || length > 9 || (length > 1 && *step == '0'))
        return NULL;
    for (uint32_t i = 0; i < length; i++) {
        if (step[i] < '0' || step[i] > '9')
            return NULL;
        index = index * 10 + (uint64_t)(step[i] - '0');
    }
    if (index >= value->size)
        return NULL;
    while (index-- > 0)
        child += child->span;
    return child;
}

/* Return the part that a $ref names, or NULL. */
static struct part *ref_target(const struct reading *r, const struct json_value *ref)
{
    const struct json_value *value = r->schema->tree.values;
    const char *at = ref->text, *end = at + ref->size;
    char *step = mem_alloc(ref->size + 1);

    if (at == end || *at != '#')
        value = NULL;
    for (at++; value && at < end;) {
        uint32_t length;
        at = *at == '/' ? pointer_step(at, end, step, &length) : NULL;
        value = at ? child_of(value, step, length) : NULL;
    }
    free(step);
    return value ? r->of[value - r->schema->tree.values] : NULL;
}

static int resolve_refs(struct reading *r)
{
    for (uint32_t i = 0; i < r->schema->count; i++) {
        struct part *part = r->schema->parts[i];
        struct buf ref = {0};

        if (part->ref_text == NULL || (part->ref = ref_target(r, part->ref_text)))
            continue;
        tell_string(&ref, part->ref_text, WORD_MAX);
        why_set(r->why, 0,
                "the keyword \"$ref\" names \"%.*s\", where no schema is; it must be \"#\", or "
                "\"#/...\" with the JSON Pointer of a schema in the same text",
                (int)buf_length(&ref), buf_data(&ref));
        buf_finish(&ref);
        return -EINVAL;
    }
    return 0;
}

/* Return true if the part leads to itself on the same value. */
static bool is_circle(struct part *part)
{
    struct part *same[] = {part->ref, part->not, part->when, part->then, part->otherwise};
    const struct parts *lists[] = {&part->all_of, &part->any_of, &part->one_of, &part->dependent};
    bool found = part->is_open;

    if (found || part->is_checked)
        return found;
    part->is_open = true;
    for (size_t i = 0; i < sizeof same / sizeof *same && !found; i++)
        found = same[i] && is_circle(same[i]);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        for (uint32_t at = 0; at < lists[i]->count && !found; at++)
            found = is_circle(lists[i]->list[at]);
    }
    part->is_open = false;
    part->is_checked = true;
    return found;
}

/* Return the part of the member with this name, or NULL. */
static struct part *part_named(const struct parts *parts, const struct json_value *name)
{
    uint32_t low = 0, high = parts->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = compare_strings(name, parts->names[middle]);
        if (order == 0)
            return parts->list[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* Note the name of the only member that the whole wants, if that is a string. */
static void note_only(struct json_schema *schema)
{
    const struct part *whole = schema->parts[0];
    const struct json_value *name = whole->required.list;
    const struct part *part =
        whole->required.count == 1 ? part_named(&whole->properties, name) : NULL;

    if (part && part->types == TYPE_string) {
        schema->only = mem_alloc(name->size + 1);
        memcpy(schema->only, name->text, name->size);
    }
}

static int read_tree(struct json_schema *schema, struct why *why)
{
    const struct place top = {.above = NULL};
    struct reading r = {.schema = schema, .why = why};
    struct part *whole;
    int status;

    r.of = mem_alloc(schema->tree.count * sizeof(struct part *));
    schema->parts = mem_alloc(JSON_SCHEMA_PARTS * sizeof(struct part *));
    status = read_part(&r, schema->tree.values, &top, &whole);
    if (status == 0)
        status = resolve_refs(&r);
    for (uint32_t i = 0; i < schema->count && status == 0; i++) {
        if (is_circle(schema->parts[i]))
            status = why_set(why, -EINVAL,
                             "\"$ref\" leads in a circle that goes down into no member or item, "
                             "so a check would not end");
    }
    free(r.of);
    if (status == 0)
        note_only(schema);
    return status;
}

int json_schema_read(const char *text, size_t length, struct json_schema **out, struct why *why)
{
    struct json_schema *schema;
    struct buf fault = {0};
    int status;

    if (length > JSON_SCHEMA_MAX)
        return why_set(why, -EINVAL, "it has %zu bytes, and a schema may have %u", length,
                       JSON_SCHEMA_MAX);
    json_fault_tell(&fault, text, length);
    if (buf_length(&fault) > 0) {
        why_set(why, 0, "it is %.*s", (int)buf_length(&fault), buf_data(&fault));
        buf_finish(&fault);
        return -EINVAL;
    }
    schema = mem_alloc(sizeof *schema);
    schema->text = mem_alloc(length + 1);
    length = json_compact(schema->text, text, length);
    schema->text[length] = '\0';
    status = json_tree_read(&schema->tree, schema->text, length, UINT32_MAX);
    if (status == 0)
        status = read_tree(schema, why);
    if (status == -ENOMEM)
        why_set(why, 0, "there is no memory for it");
    if (status < 0) {
        json_schema_destroy(schema);
        return status;
    }
    *out = schema;
    return 0;
}

static void part_destroy(struct part *part)
{
    struct parts *lists[] = {&part->all_of,       &part->any_of,     &part->one_of,
                             &part->prefix_items, &part->properties, &part->dependent};

    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        free(lists[i]->list);
        free(lists[i]->names);
    }
    canon_finish(&part->values_canon);
    canon_finish(&part->constant_canon);
    free(part);
}

void json_schema_destroy(struct json_schema *schema)
{
    if (schema == NULL)
        return;
    for (uint32_t i = 0; i < schema->count; i++)
        part_destroy(schema->parts[i]);
    free(schema->parts);
    json_tree_finish(&schema->tree);
    free(schema->only);
    free(schema->text);
    free(schema);
}

const char *json_schema_text(const struct json_schema *schema)
{
    return schema->text;
}

bool json_schema_is_object(const struct json_schema *schema)
{
    return schema->parts[0]->types == TYPE_object;
}

/* ---- checking ------------------------------------------------------------- */

struct check {
    uint32_t steps;    /* left */
    int status;        /* why the check was given up, or 0 */
    bool silent;       /* a branch is tried */
    unsigned depth;    /* parts inside parts */
    unsigned furthest; /* the depth of the deepest value at which a silent check failed */
    struct buf words;
};

static bool matches(struct check *check, const struct part *part, const struct json_value *value,
                    const struct place *place);

/* Take this many steps; return false if there are not as many. */
static bool spend(struct check *check, size_t steps)
{
    if (check->status < 0)
        return false;
    if (steps > check->steps) {
        check->status = -E2BIG;
        return false;
    }
    check->steps -= (uint32_t)steps;
    return true;
}

static size_t steps_of(size_t bytes)
{
    return 1 + bytes / 64;
}

/* Begin the words of a failure; return NULL if nobody wants them. */
static struct buf *fail(struct check *check, const struct place *place)
{
    if (check->silent) {
        if (place->depth > check->furthest)
            check->furthest = place->depth;
        return NULL;
    }
    buf_consume(&check->words, buf_length(&check->words));
    tell_place(&check->words, place);
    buf_puts(&check->words, ": ");
    return &check->words;
}

/* Begin the words of a failure with what was found, for what is wanted; NULL if nobody wants them.
 */
static struct buf *fail_found(struct check *check, const struct place *place,
                              const struct json_value *value)
{
    struct buf *words = fail(check, place);

    if (words) {
        buf_puts(words, "found ");
        tell_value(words, value);
        buf_puts(words, ", wanted ");
    }
    return words;
}

/* Fail: found this value, wanted what the words say. */
__attribute__((format(printf, 4, 5))) static bool fail_value(struct check *check,
                                                             const struct place *place,
                                                             const struct json_value *value,
                                                             const char *wanted, ...)
{
    struct buf *words = fail_found(check, place, value);
    va_list args;

    if (words == NULL)
        return false;
    va_start(args, wanted);
    buf_vprintf(words, wanted, args);
    va_end(args);
    return false;
}

static unsigned types_of(const struct json_value *value)
{
    static const unsigned kinds[] = {
        [JSON_null] = TYPE_null,     [JSON_false] = TYPE_boolean, [JSON_true] = TYPE_boolean,
        [JSON_number] = TYPE_number, [JSON_string] = TYPE_string, [JSON_array] = TYPE_array,
        [JSON_object] = TYPE_object,
    };

    if (value->kind == JSON_number && is_integer(value->number))
        return TYPE_number | TYPE_integer;
    return kinds[value->kind];
}

static bool fail_types(struct check *check, const struct place *place,
                       const struct json_value *value, unsigned wanted)
{
    struct buf *words = fail_found(check, place, value);

    if (words)
        tell_types(words, wanted);
    return false;
}

/* ---- values of any kind ---- */

/* Return true if the value is among these. */
static bool is_among(struct check *check, const struct json_value *value, const struct canon *canon)
{
    struct canon own;
    bool found = false;
    int status;

    if (!spend(check, value->span + canon->count + steps_of(canon_most(value))))
        return false;
    status = canon_make(&own, value, 1);
    if (status < 0)
        check->status = status;
    for (uint32_t i = 0; i < canon->count && !found && status == 0; i++) {
        size_t length, own_length;
        const char *bytes = canon_of(canon, i, &length), *mine = canon_of(&own, 0, &own_length);
        found = length == own_length && memcmp(bytes, mine, length) == 0;
    }
    canon_finish(&own);
    return found;
}

static bool matches_values(struct check *check, const struct part *part,
                           const struct json_value *value, const struct place *place)
{
    struct buf *words;

    if (part->values && !is_among(check, value, &part->values_canon)) {
        if ((words = fail_found(check, place, value)))
            tell_values(words, part->values);
        return false;
    }
    if (part->constant && !is_among(check, value, &part->constant_canon)) {
        if ((words = fail_found(check, place, value)))
            tell_value(words, part->constant);
        return false;
    }
    return true;
}

/* ---- numbers ---- */

/* Return the remainder of |a| / b; both are finite, b is above 0. The C library keeps fmod() in
 * a library of its own, and plugins would find that one. */
static double remainder_of(double a, double b)
{
    double left = a < 0 ? -a : a;

    while (left >= b) {
        int high, low;
        double most;
        frexp(left, &high);
        frexp(b, &low);
        most = ldexp(b, high - low);
        left -= most > left ? most / 2 : most;
    }
    return left;
}

static bool is_multiple(struct check *check, double value, double factor)
{
    double quotient = value / factor, fraction, whole;

    if (!spend(check, 1))
        return false;
    if (is_integer(value) && is_integer(factor) && value > -0x1p53 && value < 0x1p53 &&
        factor < 0x1p53)
        return (int64_t)value % (int64_t)factor == 0;
    if (isinf(quotient))
        return !isinf(value) && spend(check, 100) && remainder_of(value, factor) == 0;
    fraction = modf(quotient < 0 ? -quotient : quotient, &whole);
    if (fraction > 0.5) {
        fraction = 1 - fraction;
        whole++;
    }
    return fraction <= whole * 4 * DBL_EPSILON;
}

static bool matches_number(struct check *check, const struct part *part,
                           const struct json_value *value, const struct place *place)
{
    double n = value->number;

    if (part->minimum.is_set && n < part->minimum.value)
        return fail_value(check, place, value, "at least %.15g", part->minimum.value);
    if (part->maximum.is_set && n > part->maximum.value)
        return fail_value(check, place, value, "at most %.15g", part->maximum.value);
    if (part->above.is_set && n <= part->above.value)
        return fail_value(check, place, value, "more than %.15g", part->above.value);
    if (part->below.is_set && n >= part->below.value)
        return fail_value(check, place, value, "less than %.15g", part->below.value);
    if (part->multiple_of.is_set && !is_multiple(check, n, part->multiple_of.value))
        return fail_value(check, place, value, "a multiple of %.15g", part->multiple_of.value);
    return true;
}

/* ---- what has a size ---- */

/* Return true if the size is between the two. */
static bool has_size(struct check *check, double size, const struct number *least,
                     const struct number *most, const struct place *place, const char *what,
                     const char *several)
{
    bool is_less = least->is_set && size < least->value;
    bool is_more = most->is_set && size > most->value;
    struct buf *words;

    if (!is_less && !is_more)
        return true;
    if ((words = fail(check, place)))
        buf_printf(words, "found %.15g %s, wanted at %s %.15g", size, size == 1 ? what : several,
                   is_less ? "least" : "most", is_less ? least->value : most->value);
    return false;
}

static bool matches_string(struct check *check, const struct part *part,
                           const struct json_value *value, const struct place *place)
{
    uint32_t characters = 0;

    if (!part->min_length.is_set && !part->max_length.is_set)
        return true;
    if (!spend(check, steps_of(value->size)))
        return false;
    for (uint32_t i = 0; i < value->size; i++)
        characters += (value->text[i] & 0xc0) != 0x80;
    return has_size(check, characters, &part->min_length, &part->max_length, place, "character",
                    "characters");
}

struct span {
    const char *bytes;
    size_t length;
    uint32_t index;
};

static int compare_spans(const void *a, const void *b, void *check)
{
    const struct span *one = a, *other = b;
    size_t common = one->length < other->length ? one->length : other->length;
    int order;

    if (!spend(check, steps_of(common)))
        return 0;
    order = memcmp(one->bytes, other->bytes, common);
    return order ? order : (one->length > other->length) - (one->length < other->length);
}

/* Sort what canon has; return true if no two are the same, else set the two. */
static bool all_differ(struct check *check, const struct canon *canon, uint32_t same[2])
{
    struct span *spans = mem_try_realloc(NULL, canon->count * sizeof *spans);
    bool differ = true;

    if (spans == NULL) {
        check->status = -ENOMEM;
        return false;
    }
    for (uint32_t i = 0; i < canon->count; i++) {
        spans[i].bytes = canon_of(canon, i, &spans[i].length);
        spans[i].index = i;
    }
    qsort_r(spans, canon->count, sizeof *spans, compare_spans, check);
    for (uint32_t i = 1; i < canon->count && differ; i++) {
        differ = compare_spans(&spans[i - 1], &spans[i], check) != 0;
        same[0] = spans[i - 1].index;
        same[1] = spans[i].index;
    }
    free(spans);
    return differ;
}

static bool has_unique_items(struct check *check, const struct json_value *value,
                             const struct place *place)
{
    uint32_t same[2] = {0, 0};
    struct canon canon;
    struct buf *words;
    bool differ = false;
    int status;

    if (value->size < 2)
        return true;
    if (!spend(check, value->span + steps_of(canon_most(value))))
        return false;
    status = canon_make(&canon, value + 1, value->size);
    if (status < 0)
        check->status = status;
    else
        differ = all_differ(check, &canon, same);
    canon_finish(&canon);
    if (!differ && check->status == 0 && (words = fail(check, place)))
        buf_printf(words, "found the same at %u and %u, wanted items that differ",
                   same[0] < same[1] ? same[0] : same[1], same[0] < same[1] ? same[1] : same[0]);
    return differ;
}

static bool matches_contains(struct check *check, const struct part *part,
                             const struct json_value *value, const struct place *place)
{
    const struct number one = {true, 1};
    const struct json_value *item = value + 1;
    bool silent = check->silent;
    uint32_t found = 0;

    check->silent = true;
    for (uint32_t i = 0; i < value->size && check->status == 0; i++, item += item->span) {
        struct place there = place_of(place, NULL, i);
        found += matches(check, part->contains, item, &there);
    }
    check->silent = silent;
    return check->status == 0 &&
           has_size(check, found, part->min_contains.is_set ? &part->min_contains : &one,
                    &part->max_contains, place, "match of \"contains\"", "matches of \"contains\"");
}

static bool matches_array(struct check *check, const struct part *part,
                          const struct json_value *value, const struct place *place)
{
    const struct json_value *item = value + 1;
    bool match =
        has_size(check, value->size, &part->min_items, &part->max_items, place, "item", "items");

    for (uint32_t i = 0; i < value->size && match; i++, item += item->span) {
        const struct part *wanted =
            i < part->prefix_items.count ? part->prefix_items.list[i] : part->items;
        struct place there = place_of(place, NULL, i);
        if (wanted == NULL)
            break;
        match = matches(check, wanted, item, &there);
    }
    if (match && part->contains)
        match = matches_contains(check, part, value, place);
    if (match && part->unique_items)
        match = has_unique_items(check, value, place);
    return match;
}

/* ---- objects ---- */

/* Return the object's member of this name, or NULL; every member that is looked at is a step. */
static const struct json_value *member_named(struct check *check, const struct json_value *value,
                                             const struct json_value *name)
{
    const struct json_value *member = value + 1;

    for (uint32_t i = 0; i < value->size && spend(check, 1); i++, member += 1 + member[1].span) {
        if (member->size == name->size && memcmp(member->text, name->text, name->size) == 0)
            return member + 1;
    }
    return NULL;
}

/* Return true if the object has all of these members. */
static bool has_members(struct check *check, const struct json_value *value,
                        const struct names *names, const struct json_value *because,
                        const struct place *place)
{
    for (uint32_t i = 0; i < names->count; i++) {
        struct buf *words;

        if (member_named(check, value, &names->list[i]))
            continue;
        if (check->status == 0 && (words = fail(check, place))) {
            buf_puts(words, "the member ");
            tell_value(words, &names->list[i]);
            buf_puts(words, " is missing");
            if (because) {
                buf_puts(words, ", which ");
                tell_value(words, because);
                buf_puts(words, " wants");
            }
        }
        return false;
    }
    return true;
}

static bool fail_additional(struct check *check, const struct part *part, const struct place *place)
{
    struct buf *words = fail(check, place);

    if (words == NULL)
        return false;
    buf_puts(words, "found a member that may not be there");
    for (uint32_t i = 0; i < part->properties.count && i < 9; i++) {
        buf_puts(words, i ? ", " : ", wanted one of ");
        if (i == 8)
            buf_puts(words, "…");
        else
            tell_value(words, part->properties.names[i]);
    }
    return false;
}

static bool matches_members(struct check *check, const struct part *part,
                            const struct json_value *value, const struct place *place)
{
    const struct json_value *name = value + 1;
    bool match = true;

    if (!part->properties.count && !part->additional && !part->property_names)
        return true;
    for (uint32_t i = 0; i < value->size && match; i++, name += 1 + name[1].span) {
        const struct part *wanted = part_named(&part->properties, name);
        struct place there = place_of(place, name, 0);

        if (part->property_names)
            match = matches(check, part->property_names, name, &there);
        if (match && wanted == NULL && part->additional && part->additional->is_false)
            match = fail_additional(check, part, &there);
        if (wanted == NULL)
            wanted = part->additional;
        if (match)
            match = wanted ? matches(check, wanted, name + 1, &there) : spend(check, 1);
    }
    return match;
}

static bool matches_dependent(struct check *check, const struct part *part,
                              const struct json_value *value, const struct place *place)
{
    const struct json_value *name = part->dependent_required ? part->dependent_required + 1 : NULL;
    bool match = true;

    for (uint32_t i = 0; name && i < part->dependent_required->size && match; i++) {
        struct names names = {name[1].size, name + 2};
        if (member_named(check, value, name))
            match = has_members(check, value, &names, name, place);
        name += 1 + name[1].span;
    }
    for (uint32_t i = 0; i < part->dependent.count && match; i++) {
        if (member_named(check, value, part->dependent.names[i]))
            match = matches(check, part->dependent.list[i], value, place);
    }
    return match && check->status == 0;
}

static bool matches_object(struct check *check, const struct part *part,
                           const struct json_value *value, const struct place *place)
{
    return has_members(check, value, &part->required, NULL, place) &&
           has_size(check, value->size, &part->min_properties, &part->max_properties, place,
                    "member", "members") &&
           matches_members(check, part, value, place) &&
           matches_dependent(check, part, value, place);
}

/* ---- parts of parts ---- */

static bool matches_silently(struct check *check, const struct part *part,
                             const struct json_value *value, const struct place *place)
{
    bool silent = check->silent, match;

    check->silent = true;
    match = matches(check, part, value, place);
    check->silent = silent;
    return match;
}

/* Fail because no branch matches. */
static bool fail_branches(struct check *check, const struct parts *parts, const char *keyword,
                          const struct part *best, const struct json_value *value,
                          const struct place *place)
{
    unsigned wanted = 0;

    if (check->silent)
        return false;
    if (best)
        return matches(check, best, value, place);
    for (uint32_t i = 0; i < parts->count; i++)
        wanted |= parts->list[i]->types ? parts->list[i]->types : ~0u;
    if (wanted != ~0u && !(wanted & types_of(value)))
        return fail_types(check, place, value, wanted);
    return fail_value(check, place, value, "what one of the %u schemas of \"%s\" describes",
                      parts->count, keyword);
}

/* Check a value with the branches of anyOf, or with those of oneOf, of which only one may match. */
static bool matches_branches(struct check *check, const struct parts *parts, bool only_one,
                             const struct json_value *value, const struct place *place)
{
    const char *keyword = only_one ? "oneOf" : "anyOf";
    unsigned before = check->furthest, most = place->depth;
    const struct part *best = NULL;
    uint32_t matched = 0;
    struct buf *words;

    for (uint32_t i = 0; i < parts->count && matched < 1u + only_one && check->status == 0; i++) {
        check->furthest = 0;
        matched += matches_silently(check, parts->list[i], value, place);
        if (check->furthest > most) {
            most = check->furthest;
            best = parts->list[i];
        }
    }
    check->furthest = before > most ? before : most;
    if (matched == 1 || check->status < 0)
        return matched == 1;
    if (matched == 0)
        return fail_branches(check, parts, keyword, best, value, place);
    if ((words = fail(check, place)))
        buf_printf(words, "more than one of the %u schemas of \"oneOf\" match, wanted one",
                   parts->count);
    return false;
}

static bool matches_logic(struct check *check, const struct part *part,
                          const struct json_value *value, const struct place *place)
{
    const struct part *branch = NULL;

    if (part->ref && !matches(check, part->ref, value, place))
        return false;
    for (uint32_t i = 0; i < part->all_of.count; i++) {
        if (!matches(check, part->all_of.list[i], value, place))
            return false;
    }
    if (part->any_of.count && !matches_branches(check, &part->any_of, false, value, place))
        return false;
    if (part->one_of.count && !matches_branches(check, &part->one_of, true, value, place))
        return false;
    if (part->not &&matches_silently(check, part->not, value, place))
        return fail_value(check, place, value, "what \"not\" does not describe");
    if (part->when)
        branch = matches_silently(check, part->when, value, place) ? part->then : part->otherwise;
    return check->status == 0 && (branch == NULL || matches(check, branch, value, place));
}

static bool matches_kind(struct check *check, const struct part *part,
                         const struct json_value *value, const struct place *place)
{
    switch ((enum json_kind)value->kind) {
    case JSON_number:
        return matches_number(check, part, value, place);
    case JSON_string:
        return matches_string(check, part, value, place);
    case JSON_array:
        return matches_array(check, part, value, place);
    case JSON_object:
        return matches_object(check, part, value, place);
    case JSON_null:
    case JSON_false:
    case JSON_true:
        break;
    }
    return true;
}

/* Return true if the value matches the part; false too if the check was given up. */
static bool matches(struct check *check, const struct part *part, const struct json_value *value,
                    const struct place *place)
{
    bool match;

    if (!spend(check, 1))
        return false;
    if (check->depth == DEPTH_MAX) {
        check->status = -E2BIG;
        return false;
    }
    if (part->is_false)
        return fail_value(check, place, value, "nothing");
    if (part->types && !(part->types & types_of(value)))
        return fail_types(check, place, value, part->types);
    check->depth++;
    match = matches_values(check, part, value, place) && matches_kind(check, part, value, place) &&
            matches_logic(check, part, value, place);
    check->depth--;
    return match && check->status == 0;
}

/* Say why a check did not succeed; return its status. */
static int tell_check(struct check *check, bool match, struct why *why)
{
    if (!match && check->status == 0)
        check->status = -EINVAL;
    if (check->status == -EINVAL)
        why_set(why, 0, "%.*s", (int)buf_length(&check->words), buf_data(&check->words));
    else if (check->status == -E2BIG)
        why_set(why, 0,
                "to check it against the schema would take more than %u steps, or %u schemas "
                "inside one another; send less",
                JSON_SCHEMA_STEPS, DEPTH_MAX);
    else if (check->status == -ENOMEM)
        why_set(why, 0, "there is no memory to check it against the schema");
    buf_finish(&check->words);
    return check->status;
}

static int read_text(struct json_tree *tree, const char *text, size_t length, struct why *why)
{
    int status = json_tree_read(tree, text, length, JSON_SCHEMA_VALUES);

    if (status == -E2BIG)
        why_set(why, 0,
                "it has more than %u values, or more than %u levels, too many to check against the "
                "schema",
                JSON_SCHEMA_VALUES, JSON_DEPTH_MAX);
    else if (status < 0)
        why_set(why, 0, "there is no memory to check it against the schema");
    return status;
}

int json_schema_check(const struct json_schema *schema, const char *text, size_t length,
                      struct why *why)
{
    const struct place top = {.above = NULL};
    struct check check = {.steps = JSON_SCHEMA_STEPS};
    struct json_tree tree;
    int status = read_text(&tree, text, length, why);

    if (status < 0)
        return status;
    status = tell_check(&check, matches(&check, schema->parts[0], tree.values, &top), why);
    json_tree_finish(&tree);
    return status;
}

int json_schema_check_each(const struct json_schema *schema, const char *list, size_t length,
                           unsigned *number, struct why *why)
{
    const struct place top = {.above = NULL};
    struct check check = {.steps = JSON_SCHEMA_STEPS};
    const struct json_value *item;
    struct json_tree tree;
    bool match = true;
    int status = read_text(&tree, list, length, why);

    if (status < 0)
        return status;
    item = tree.values + 1;
    for (*number = 0; *number < tree.values->size && match; item += item->span, ++*number)
        match = matches(&check, schema->parts[0], item, &top);
    status = tell_check(&check, match, why);
    json_tree_finish(&tree);
    return status;
}

bool json_schema_has(const struct json_schema *schema, const char *property)
{
    struct json_value name = {.size = (uint32_t)strlen(property), .text = property};

    return part_named(&schema->parts[0]->properties, &name) != NULL;
}

const char *json_schema_only_string(const struct json_schema *schema)
{
    return schema->only;
}
