/*
 * A subset of JSON Schema 2020-12 (json-schema.org/draft/2020-12), for what agents declare and
 * what people answer. What it knows means what the standard says; what it does not know is
 * refused by name when a schema is read, so that no author relies on a check that nobody makes.
 *
 *     any value    type enum const, $ref to "#" or "#/...", $defs definitions,
 *                  allOf anyOf oneOf not, if then else, and true and false for a schema
 *     numbers      minimum maximum exclusiveMinimum exclusiveMaximum multipleOf
 *     strings      minLength maxLength
 *     arrays       prefixItems items minItems maxItems uniqueItems
 *                  contains minContains maxContains
 *     objects      properties additionalProperties required propertyNames
 *                  minProperties maxProperties dependentRequired dependentSchemas
 *     not checked  title description default examples deprecated readOnly writeOnly format
 *                  contentEncoding contentMediaType contentSchema enumNames $comment, names
 *                  that begin with x-, and in the outermost schema $id, and $schema of 2020-12
 *
 * Not among them: pattern and patternProperties, for ECMA-262's regular expressions are nothing
 * that the C library can match; unevaluatedItems and unevaluatedProperties; $anchor,
 * $dynamicRef, a $ref to another document.
 *
 * Numbers are doubles: integers beyond 2^53 are compared by the nearest double, and a multipleOf
 * that is a fraction is met within the rounding of a division. A member that an object has twice
 * must be valid both times. Half a surrogate pair counts as U+FFFD.
 *
 * Checking a value costs at most JSON_SCHEMA_STEPS steps, some tens of milliseconds, whatever
 * the schema and the value are: it never recurses without end, and holds at most
 * JSON_SCHEMA_VALUES values in memory. What would cost more is refused. So both texts may come
 * from anybody, and a schema that is used once, such as that of a question, is read, used and
 * destroyed:
 *
 *     status = json_schema_read(schema_text, schema_length, &schema, &why);
 *     if (status == 0) {
 *         status = json_schema_check(schema, text, length, &why);
 *         json_schema_destroy(schema);
 *     }
 */
#ifndef BASE_JSON_SCHEMA_H
#define BASE_JSON_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>

#define JSON_SCHEMA_MAX    (64u * 1024) /* bytes of a schema's text */
#define JSON_SCHEMA_PARTS  2048u        /* schemas in one */
#define JSON_SCHEMA_STEPS  1000000u     /* of one check */
#define JSON_SCHEMA_VALUES 250000u      /* of a text that is checked, names of members included */

struct json_schema;
struct why;

/*
 * Read a schema; the text need not be JSON. -EINVAL: it is none, or it says something that is
 * not in the subset. The reason names the place as a JSON Pointer (RFC 6901), the keyword, and
 * what is wanted:
 *
 *     at "/properties/name": the keyword "pattern" is not among those that sluice checks; ...
 */
int json_schema_read(const char *text, size_t length, struct json_schema **out, struct why *why);

void json_schema_destroy(struct json_schema *schema);

/*
 * Check a text that json_check() takes. -EINVAL: it does not match. The reason names the place
 * in the text, what was found and what is wanted, foreign bytes escaped:
 *
 *     at "/messages/0/role": found "robot", wanted one of "user", "assistant"
 *
 * -E2BIG: the check would cost more than is allowed. -ENOMEM: there is no memory for it.
 */
int json_schema_check(const struct json_schema *schema, const char *text, size_t length,
                      struct why *why);

/* Check each item of a JSON list, and set *number to that which does not match, from 1 on. */
int json_schema_check_each(const struct json_schema *schema, const char *list, size_t length,
                           unsigned *number, struct why *why);

/* Return the text without white space, ending with NUL. */
const char *json_schema_text(const struct json_schema *schema);

/* Return true if the outermost schema says "type":"object". */
bool json_schema_is_object(const struct json_schema *schema);

/* Return true if the outermost schema has a property of this name. */
bool json_schema_has(const struct json_schema *schema, const char *property);

/* Return the name of the only property that the outermost schema requires, if that is a string;
 * else NULL. Valid as long as the schema. */
const char *json_schema_only_string(const struct json_schema *schema);

#endif
