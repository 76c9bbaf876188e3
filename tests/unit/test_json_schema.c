/* The checker of JSON Schema: its words, its bounds, and the official suite of cases. */
#include "../case.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/json_schema.h"
#include "base/why.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct json_schema *read_schema(const char *text)
{
    struct json_schema *schema = NULL;
    struct why why = {0};
    int status = json_schema_read(text, strlen(text), &schema, &why);

    ck_assert_msg(status == 0, "%s: %s", text, why_text(&why));
    why_finish(&why);
    return schema;
}

static int check_text(const char *schema_text, const char *text, size_t length, struct why *why)
{
    struct json_schema *schema = read_schema(schema_text);
    int status;

    ck_assert_int_ge(json_check(text, length), 0);
    status = json_schema_check(schema, text, length, why);
    json_schema_destroy(schema);
    return status;
}

static void expect_match(const char *schema, const char *text)
{
    struct why why = {0};
    int status = check_text(schema, text, strlen(text), &why);

    ck_assert_msg(status == 0, "%s: %s", text, why_text(&why));
    why_finish(&why);
}

static void expect_words(const char *schema, const char *text, int wanted, const char *words)
{
    struct why why = {0};

    ck_assert_int_eq(check_text(schema, text, strlen(text), &why), wanted);
    ck_assert_str_eq(why_text(&why), words);
    why_finish(&why);
}

static void expect_fault(const char *schema, const char *text, const char *words)
{
    expect_words(schema, text, -EINVAL, words);
}

/* The schema is refused with these words. */
static void expect_refused(const char *text, const char *words)
{
    struct json_schema *schema = NULL;
    struct why why = {0};

    ck_assert_int_eq(json_schema_read(text, strlen(text), &schema, &why), -EINVAL);
    ck_assert_ptr_null(schema);
    ck_assert_str_eq(why_text(&why), words);
    why_finish(&why);
}

/* Return `count` times the text, between two others; the caller frees it. */
static char *repeated(const char *before, const char *text, size_t count, const char *after)
{
    struct buf out = {0};

    buf_puts(&out, before);
    for (size_t i = 0; i < count; i++)
        buf_puts(&out, text);
    buf_puts(&out, after);
    return buf_steal(&out);
}

/* ---- words ---- */

CASES("words");

static const struct {
    const char *schema, *text, *words;
} faults[] = {
    {"{\"type\":\"object\"}", "7", "at \"\": found 7, wanted an object"},
    {"{\"type\":[\"string\",\"null\"]}", "[1,2]",
     "at \"\": found an array of 2, wanted a string or null"},
    {"{\"properties\":{\"a\":{\"items\":{\"type\":\"integer\"}}}}", "{\"a\":[1,2,2.5]}",
     "at \"/a/2\": found 2.5, wanted an integer"},
    {"{\"required\":[\"question\"]}", "{\"questoin\":\"?\"}",
     "at \"\": the member \"question\" is missing"},
    {"{\"properties\":{\"a\":{},\"b\":{}},\"additionalProperties\":false}", "{\"c\":1}",
     "at \"/c\": found a member that may not be there, wanted one of \"a\", \"b\""},
    {"{\"additionalProperties\":{\"enum\":[\"user\",\"assistant\"]}}", "{\"a/b~c\":\"robot\"}",
     "at \"/a~1b~0c\": found \"robot\", wanted one of \"user\", \"assistant\""},
    {"{\"const\":{\"a\":1}}", "{}",
     "at \"\": found an empty object, wanted an object with 1 member"},
    {"{\"minimum\":1}", "0.1", "at \"\": found 0.1, wanted at least 1"},
    {"{\"exclusiveMaximum\":1}", "1", "at \"\": found 1, wanted less than 1"},
    {"{\"multipleOf\":5}", "12", "at \"\": found 12, wanted a multiple of 5"},
    {"{\"minLength\":1}", "\"\"", "at \"\": found 0 characters, wanted at least 1"},
    {"{\"maxLength\":1}", "\"\\ud83d\\ude00\\ud83d\\ude00\"",
     "at \"\": found 2 characters, wanted at most 1"},
    {"{\"maxItems\":1}", "[1,2]", "at \"\": found 2 items, wanted at most 1"},
    {"{\"maxProperties\":0}", "{\"a\":1}", "at \"\": found 1 member, wanted at most 0"},
    {"{\"uniqueItems\":true}", "[3,{\"a\":1,\"b\":2},{\"b\":2.0,\"a\":1}]",
     "at \"\": found the same at 1 and 2, wanted items that differ"},
    {"{\"contains\":{\"const\":1}}", "[2]",
     "at \"\": found 0 matches of \"contains\", wanted at least 1"},
    {"{\"dependentRequired\":{\"a\":[\"b\"]}}", "{\"a\":1}",
     "at \"\": the member \"b\" is missing, which \"a\" wants"},
    {"{\"propertyNames\":{\"maxLength\":2}}", "{\"abc\":1}",
     "at \"/abc\": found 3 characters, wanted at most 2"},
    {"{\"not\":{\"type\":\"null\"}}", "null",
     "at \"\": found null, wanted what \"not\" does not describe"},
    {"{\"if\":{\"const\":1},\"else\":{\"const\":2}}", "3", "at \"\": found 3, wanted 2"},
    {"{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\"}]}", "3",
     "at \"\": found 3, wanted an array or a string"},
    {"{\"anyOf\":[{\"minimum\":5},{\"const\":\"x\"}]}", "3",
     "at \"\": found 3, wanted what one of the 2 schemas of \"anyOf\" describes"},
    {"{\"oneOf\":[{\"minimum\":2},{\"maximum\":5}]}", "3",
     "at \"\": more than one of the 2 schemas of \"oneOf\" match, wanted one"},
    {"{\"oneOf\":[{\"properties\":{\"k\":{\"const\":1}}},"
     "{\"properties\":{\"v\":{\"items\":{\"type\":\"null\"}},\"k\":{\"const\":2}}}]}",
     "{\"v\":[null,3],\"k\":2}", "at \"/v/1\": found 3, wanted null"},
    {"{\"items\":false}", "[1]", "at \"/0\": found 1, wanted nothing"},
};

CASE_LOOP(a_fault_has_its_place_what_was_found_and_what_is_wanted, 0,
          sizeof faults / sizeof *faults)
{
    expect_fault(faults[_i].schema, faults[_i].text, faults[_i].words);
}

CASE(words_of_hostile_values_are_short_and_without_control_characters)
{
    char *name = repeated("{\"\\u001b[2J\\u0000", "y", 5000, "\":\"\\n\\ufffd\"}");
    struct why why = {0};

    ck_assert_int_eq(
        check_text("{\"additionalProperties\":{\"type\":\"null\"}}", name, strlen(name), &why),
        -EINVAL);
    ck_assert_uint_lt(strlen(why_text(&why)), 250);
    for (const char *p = why_text(&why); *p; p++)
        ck_assert_int_ge((unsigned char)*p, ' ');
    why_finish(&why);
    free(name);
}

CASE(a_long_way_is_cut_in_the_middle)
{
    char *text = repeated("{\"first\":", "[", 20, "7]]]]]]]]]]]]]]]]]]]]}");

    expect_fault("{\"additionalProperties\":{\"$ref\":\"#/$defs/a\"},\"$defs\":{\"a\":"
                 "{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/a\"}}}}",
                 text, "at \"/first/0/0/0/…/0/0/0/0\": found 7, wanted an array");
    free(text);
}

/* ---- what a schema may not say ---- */

CASES("refusals");

static const struct {
    const char *text, *words;
} refusals[] = {
    {"{\"properties\":{\"a\":{\"pattern\":\"^a\"}}}",
     "at \"/properties/a\": the keyword \"pattern\" is not among those that sluice checks; leave "
     "it out, or call a note of your own x-pattern"},
    {"{\"requried\":[]}",
     "at \"\": the keyword \"requried\" is not among those that sluice checks; leave it out, or "
     "call a note of your own x-requried"},
    {"[1]", "at \"\": a schema is an object, true or false, found an array of 1"},
    {"{\"items\":[{}]}",
     "at \"/items\": a schema is an object, true or false, found an array of 1"},
    {"{\"type\":\"text\"}",
     "at \"/type\": the keyword \"type\" wants \"object\", \"array\", \"string\", \"integer\", "
     "\"number\", \"boolean\", \"null\", or a list of some of them, found \"text\""},
    {"{\"required\":\"a\"}",
     "at \"/required\": the keyword \"required\" wants a list of names of members, found \"a\""},
    {"{\"minLength\":-1}", "at \"/minLength\": the keyword \"minLength\" wants an integer that is "
                           "not negative, found -1"},
    {"{\"multipleOf\":0}",
     "at \"/multipleOf\": the keyword \"multipleOf\" wants a number above 0, found 0"},
    {"{\"anyOf\":[]}", "at \"/anyOf\": the keyword \"anyOf\" wants a list of schemas that is not "
                       "empty, found an empty array"},
    {"{\"$ref\":\"other.json\"}",
     "the keyword \"$ref\" names \"other.json\", where no schema is; it must be \"#\", or "
     "\"#/...\" with the JSON Pointer of a schema in the same text"},
    {"{\"$ref\":\"#/properties\",\"properties\":{}}",
     "the keyword \"$ref\" names \"#/properties\", where no schema is; it must be \"#\", or "
     "\"#/...\" with the JSON Pointer of a schema in the same text"},
    {"{\"$ref\":\"#\"}", "\"$ref\" leads in a circle that goes down into no member or item, so a "
                         "check would not end"},
    {"{\"$defs\":{\"a\":{\"anyOf\":[true,{\"not\":{\"$ref\":\"#/$defs/a\"}}]}}}",
     "\"$ref\" leads in a circle that goes down into no member or item, so a check would not end"},
    {"{\"$schema\":\"http://json-schema.org/draft-07/schema#\"}",
     "at \"/$schema\": the keyword \"$schema\" wants "
     "\"https://json-schema.org/draft/2020-12/schema\", in the outermost schema, found "
     "\"http://json-schema.org/draft-07/schema#\""},
    {"{\"items\":{\"$id\":\"a\"}}", "at \"/items/$id\": the keyword \"$id\" wants a string, in the "
                                    "outermost schema, found \"a\""},
    {"{\"type\":\"null\",\"type\":\"null\"}", "at \"\": the keyword \"type\" stands there twice"},
    {"{\"properties\":{\"a\":{},\"a\":{}}}", "at \"/properties/a\": it stands there twice"},
    {"{type:1}", "it is not JSON at byte 1: found 't', wanted a name in double quotes: "
                 "{▸type:1}"},
};

CASE_LOOP(a_schema_is_refused_by_place_and_keyword, 0, sizeof refusals / sizeof *refusals)
{
    expect_refused(refusals[_i].text, refusals[_i].words);
}

CASE(a_schema_has_bounds)
{
    char *long_one = repeated("{\"title\":\"", "x", JSON_SCHEMA_MAX, "\"}");
    char *many = repeated("{\"allOf\":[{}", ",{}", JSON_SCHEMA_PARTS, "]}");

    expect_refused(long_one, "it has 65548 bytes, and a schema may have 65536");
    expect_refused(
        many, "at \"/allOf/2047\": a schema may have 2048 schemas in it, and this one has more");
    free(long_one);
    free(many);
}

CASE(notes_are_not_checked)
{
    expect_match(
        "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\"$id\":\"a:b\","
        "\"title\":1,\"description\":\"\",\"default\":[],\"examples\":[],\"format\":\"date\","
        "\"deprecated\":true,\"readOnly\":true,\"writeOnly\":true,\"x-mine\":{\"type\":1},"
        "\"$comment\":\"\",\"contentEncoding\":\"\",\"contentMediaType\":\"\",\"enumNames\":[\"a\"]"
        ","
        "\"contentSchema\":{\"pattern\":1}}",
        "\"no date\"");
}

/* ---- what is asked of a schema ---- */

CASES("questions");

CASE(the_outermost_schema_tells_what_it_wants)
{
    struct json_schema *schema =
        read_schema("{ \"type\" : \"object\", \"properties\":{\"text\":{\"type\":\"string\"},"
                    "\"messages\":{}},\"required\":[\"text\"] }");

    ck_assert(json_schema_is_object(schema));
    ck_assert(json_schema_has(schema, "messages"));
    ck_assert(!json_schema_has(schema, "message"));
    ck_assert_str_eq(json_schema_only_string(schema), "text");
    ck_assert_str_eq(json_schema_text(schema),
                     "{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\"},"
                     "\"messages\":{}},\"required\":[\"text\"]}");
    json_schema_destroy(schema);
    schema = read_schema("{\"type\":[\"object\",\"null\"],\"properties\":{\"n\":{\"type\":"
                         "\"integer\"}},\"required\":[\"n\"]}");
    ck_assert(!json_schema_is_object(schema));
    ck_assert_ptr_null(json_schema_only_string(schema));
    json_schema_destroy(schema);
    json_schema_destroy(NULL);
}

/* ---- values at the edge ---- */

CASES("values");

CASE(integers_are_what_they_are_worth)
{
    expect_match("{\"type\":\"integer\"}", "1.0");
    expect_match("{\"type\":\"integer\"}", "1e300");
    expect_match("{\"const\":9007199254740993}", "9007199254740992"); /* the nearest doubles */
    expect_match("{\"multipleOf\":0.1}", "0.3");
    expect_match("{\"enum\":[0]}", "-0.0");
    expect_fault("{\"multipleOf\":2}", "9007199254740991",
                 "at \"\": found 9007199254740991, wanted a multiple of 2");
    expect_match("{\"type\":\"number\"}", "12345678901234567890123456789012345678901234567890"
                                          "12345678901234567890123456789012345678901234567890");
}

CASE(a_member_that_stands_there_twice_must_be_valid_twice)
{
    expect_fault("{\"properties\":{\"a\":{\"type\":\"string\"}}}", "{\"a\":\"x\",\"a\":1}",
                 "at \"/a\": found 1, wanted a string");
}

CASE(a_nul_is_a_character_of_a_name)
{
    expect_fault("{\"required\":[\"a\"]}", "{\"a\\u0000\":1}",
                 "at \"\": the member \"a\" is missing");
    expect_fault("{\"const\":\"a\"}", "\"a\\u0000\"", "at \"\": found \"a?\", wanted \"a\"");
}

CASE(a_text_need_not_end)
{
    char text[] = "123";
    struct why why = {0};

    ck_assert_int_eq(check_text("{\"const\":12}", text, 2, &why), 0);
    why_finish(&why);
}

/* ---- hostile ---- */

#define TOO_MUCH                                                                                 \
    "to check it against the schema would take more than 1000000 steps, or 1600 schemas inside " \
    "one another; send less"

CASES("hostile");

CASE(branches_that_multiply_are_given_up)
{
    char *text = repeated("", "[", 200, "");
    char *whole = repeated(text, "]", 200, "");

    expect_words("{\"anyOf\":[{\"items\":{\"$ref\":\"#\"},\"not\":{}},"
                 "{\"items\":{\"$ref\":\"#\"},\"not\":{}}]}",
                 whole, -E2BIG, TOO_MUCH);
    free(text);
    free(whole);
}

CASE(a_text_may_be_as_deep_as_json)
{
    char *text = repeated("", "[", JSON_DEPTH_MAX, "");
    char *whole = repeated(text, "]", JSON_DEPTH_MAX, "");

    expect_match("{\"allOf\":[{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}}]}", whole);
    free(text);
    free(whole);
}

/* What the host makes of a text may be deeper than what json_check() takes. */
CASE(a_deeper_text_is_refused)
{
    char *text = repeated("", "[", JSON_DEPTH_MAX + 8, "");
    char *whole = repeated(text, "]", JSON_DEPTH_MAX + 8, "");
    struct json_schema *schema;
    struct why why = {0};

    ck_assert_int_eq(json_schema_read("{}", 2, &schema, &why), 0);
    ck_assert_int_eq(json_schema_check(schema, whole, strlen(whole), &why), -E2BIG);
    ck_assert_ptr_nonnull(strstr(why_text(&why), "512 levels"));
    why_finish(&why);
    json_schema_destroy(schema);
    free(text);
    free(whole);
}

CASE(parts_inside_parts_are_bounded)
{
    char *text = repeated("", "[", JSON_DEPTH_MAX, "");
    char *whole = repeated(text, "]", JSON_DEPTH_MAX, "");

    expect_words("{\"allOf\":[{\"allOf\":[{\"allOf\":[{\"items\":{\"$ref\":\"#\"}}]}]}]}", whole,
                 -E2BIG, TOO_MUCH);
    free(text);
    free(whole);
}

CASE(many_values_are_refused_before_they_are_checked)
{
    char *text = repeated("[0", ",0", JSON_SCHEMA_VALUES, "]");

    expect_words("true", text, -E2BIG,
                 "it has more than 250000 values, or more than 512 levels, too many to check "
                 "against the schema");
    free(text);
}

CASE(items_of_a_long_list_are_compared_without_a_walk)
{
    struct buf text = {0};
    struct why why = {0};

    buf_puts(&text, "[-1");
    for (unsigned i = 0; i < 30000; i++)
        buf_printf(&text, ",%u", i);
    buf_puts(&text, "]");
    ck_assert_msg(check_text("{\"uniqueItems\":true}", buf_data(&text), buf_length(&text), &why) ==
                      0,
                  "%s", why_text(&why));
    buf_finish(&text);
    why_finish(&why);
}

CASE(long_items_that_are_alike_are_given_up)
{
    char *word = repeated(",\"", "x", 20000, "\"");
    char *text = repeated("[0", word, 2000, "]");

    expect_words("{\"uniqueItems\":true}", text, -E2BIG, TOO_MUCH);
    free(word);
    free(text);
}

CASE(a_long_string_is_not_measured_again_and_again)
{
    char *schema = repeated("{\"anyOf\":[{\"maxLength\":1}", ",{\"maxLength\":1}", 900, "]}");
    char *text = repeated("\"", "x", 1000000, "\"");

    expect_words(schema, text, -E2BIG, TOO_MUCH);
    free(schema);
    free(text);
}

CASE(members_that_are_sought_in_a_large_object_are_given_up)
{
    char *names = repeated("{\"required\":[\"a\"", ",\"a\"", 500, "]}");
    struct buf text = {0};
    char *whole;

    buf_puts(&text, "{\"b\":0");
    for (unsigned i = 0; i < 50000; i++)
        buf_printf(&text, ",\"%u\":0", i);
    buf_puts(&text, ",\"a\":0}");
    whole = buf_steal(&text);
    expect_words(names, whole, -E2BIG, TOO_MUCH);
    free(whole);
    free(names);
}

/* ---- the official suite ---- */

CASES("suite");

/* Debian's package json-schema-test-suite; another may be named by JSON_SCHEMA_TEST_SUITE. */
#define SUITE "/usr/share/json-schema-test-suite"

/* What a schema of the suite may be refused for, and may not be taken with: a keyword, or how one
 * is used. */
static const struct {
    const char *words, *in_schema;
} outside[] = {
    {"keyword \"pattern\"", "\"pattern\":"},
    {"keyword \"patternProperties\"", "\"patternProperties\":"},
    {"keyword \"unevaluatedItems\"", "\"unevaluatedItems\":"},
    {"keyword \"unevaluatedProperties\"", "\"unevaluatedProperties\":"},
    {"keyword \"$anchor\"", "\"$anchor\":\""},
    {"keyword \"$dynamicAnchor\"", "\"$dynamicAnchor\":\""},
    {"keyword \"$dynamicRef\"", "\"$dynamicRef\":\""},
    {"keyword \"$ref\" names", "\"$ref\":\"h"},
    {"keyword \"$id\" wants", "},\"$id\":\""},
    {"keyword \"$schema\" wants", "draft7"},
    {"keyword \"tilda~field\"", "\"tilda~field\":{"},
};

struct tally {
    unsigned schemas, refused, cases;
};

static void rename_member(cJSON *object, const char *name, const char *other)
{
    cJSON *value = cJSON_DetachItemFromObjectCaseSensitive(object, name);

    if (value)
        cJSON_AddItemToObject(object, other, value);
}

/* Make of a schema of draft 7 that of 2020-12 which says the same. */
static void translate(cJSON *schema)
{
    cJSON *ref = cJSON_GetObjectItemCaseSensitive(schema, "$ref");
    cJSON *items = cJSON_GetObjectItemCaseSensitive(schema, "items"), *child;
    cJSON *dependencies;

    if (cJSON_IsString(ref)) { /* its siblings were ignored */
        for (child = schema->child; child;) {
            cJSON *next = child->next;
            if (child != ref && strcmp(child->string, "definitions") != 0)
                cJSON_Delete(cJSON_DetachItemViaPointer(schema, child));
            child = next;
        }
    }
    cJSON_DeleteItemFromObjectCaseSensitive(schema, "$schema");
    if (cJSON_IsArray(items)) {
        if (items->child)
            rename_member(schema, "items", "prefixItems");
        else
            cJSON_DeleteItemFromObjectCaseSensitive(schema, "items");
        rename_member(schema, "additionalItems", "items");
    } else if (cJSON_IsObject(schema)) {
        cJSON_DeleteItemFromObjectCaseSensitive(schema, "additionalItems");
    }
    dependencies = cJSON_DetachItemFromObjectCaseSensitive(schema, "dependencies");
    for (child = dependencies ? dependencies->child : NULL; child;) {
        cJSON *next = child->next;
        const char *keyword = cJSON_IsArray(child) ? "dependentRequired" : "dependentSchemas";
        if (!cJSON_HasObjectItem(schema, keyword))
            cJSON_AddObjectToObject(schema, keyword);
        cJSON_AddItemToObject(cJSON_GetObjectItemCaseSensitive(schema, keyword), child->string,
                              cJSON_DetachItemViaPointer(dependencies, child));
        child = next;
    }
    cJSON_Delete(dependencies);
    cJSON_ArrayForEach(child, schema) {
        if (!child->string || (strcmp(child->string, "const") && strcmp(child->string, "enum")))
            translate(child);
    }
}

/* Append JSON; cJSON would round its numbers. */
static void print_json(struct buf *out, const cJSON *json)
{
    const cJSON *child;

    if (cJSON_IsNumber(json)) {
        buf_printf(out, "%.17g", json->valuedouble);
    } else if (cJSON_IsArray(json) || cJSON_IsObject(json)) {
        buf_puts(out, cJSON_IsArray(json) ? "[" : "{");
        cJSON_ArrayForEach(child, json) {
            buf_puts(out, child == json->child ? "" : ",");
            if (child->string) {
                json_append_string(out, child->string);
                buf_puts(out, ":");
            }
            print_json(out, child);
        }
        buf_puts(out, cJSON_IsArray(json) ? "]" : "}");
    } else if (cJSON_IsString(json)) {
        json_append_string(out, json->valuestring);
    } else {
        buf_puts(out, cJSON_IsNull(json) ? "null" : cJSON_IsTrue(json) ? "true" : "false");
    }
}

static char *printed(const cJSON *json)
{
    struct buf out = {0};

    print_json(&out, json);
    return buf_steal(&out);
}

static const char *text_of(const cJSON *json, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));
}

/* Run a group of cases: one schema, and texts that match or do not. */
static void run_group(const char *file, const cJSON *group, bool is_old, struct tally *tally)
{
    cJSON *given = cJSON_GetObjectItemCaseSensitive(group, "schema");
    const cJSON *test;
    struct json_schema *schema = NULL;
    bool is_refused, is_named = false;
    struct why why = {0};
    char *text;

    if (is_old)
        translate(given);
    text = printed(given);
    tally->schemas++;
    is_refused = json_schema_read(text, strlen(text), &schema, &why) < 0;
    tally->refused += is_refused;
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        is_named |= is_refused && strstr(why_text(&why), outside[i].words);
        ck_assert_msg(is_refused || !strstr(text, outside[i].in_schema), "%s: %s is not refused",
                      file, text);
    }
    ck_assert_msg(is_named == is_refused, "%s: %s: %s", file, text, why_text(&why));
    cJSON_ArrayForEach(test, cJSON_GetObjectItemCaseSensitive(group, "tests")) {
        char *data = printed(cJSON_GetObjectItemCaseSensitive(test, "data"));
        bool valid = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(test, "valid"));
        int status;

        if (schema) {
            why_finish(&why);
            status = json_schema_check(schema, data, strlen(data), &why);
            ck_assert_msg(status == (valid ? 0 : -EINVAL), "%s: %s: %s: %s: %d %s", file,
                          text_of(group, "description"), text, data, status, why_text(&why));
            ck_assert_int_eq(*why_text(&why) != '\0', !valid);
            tally->cases++;
        }
        free(data);
    }
    json_schema_destroy(schema);
    why_finish(&why);
    free(text);
}

static cJSON *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    struct buf text = {0};
    cJSON *json;
    size_t got;

    ck_assert_ptr_nonnull(file);
    while ((got = fread(buf_reserve(&text, 65536), 1, 65536, file)) > 0)
        buf_commit(&text, got);
    fclose(file);
    json = cJSON_ParseWithLength(buf_data(&text), buf_length(&text));
    ck_assert_msg(json != NULL, "%s", path);
    buf_finish(&text);
    return json;
}

/* Run all files of one draft of the suite; return false if it is not there. */
static bool run_draft(const char *draft, bool is_old, struct tally *tally)
{
    const char *suite = getenv("JSON_SCHEMA_TEST_SUITE");
    char folder[512], path[800];
    struct dirent *entry;
    DIR *files;

    snprintf(folder, sizeof folder, "%s/tests/%s", suite ? suite : SUITE, draft);
    files = opendir(folder);
    if (files == NULL) {
        printf("suite: no %s, which Debian's package json-schema-test-suite has\n", folder);
        return false;
    }
    while ((entry = readdir(files))) {
        const cJSON *group;
        cJSON *json;
        if (!strstr(entry->d_name, ".json"))
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        json = read_file(path);
        cJSON_ArrayForEach(group, json) {
            run_group(entry->d_name, group, is_old, tally);
        }
        cJSON_Delete(json);
    }
    closedir(files);
    printf("suite: %s: %u schemas, of them %u refused by name; %u cases pass\n", draft,
           tally->schemas, tally->refused, tally->cases);
    return true;
}

CASE(cases_of_draft_7_hold_in_the_words_of_2020_12)
{
    struct tally tally = {0};

    if (run_draft("draft7", true, &tally))
        ck_assert_uint_ge(tally.cases, 350);
}

CASE(cases_of_2020_12_hold)
{
    struct tally tally = {0};

    if (run_draft("draft2020-12", false, &tally))
        ck_assert_uint_ge(tally.cases, 900);
}
