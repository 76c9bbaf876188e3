/*
 * JSON as an array of values, in the order of the text, for code that must go back and forth in
 * it and may link nothing but the C library. Reading never recurses and copies no string that
 * has no escape, so a hostile text costs 24 bytes a value and no stack.
 *
 *     {"a":[1,"x"]}    object  string a  array  number 1  string x
 *                      [0]     [1]       [2]    [3]       [4]
 *
 * The first value is the whole. After an array come its items; after an object, for each
 * member, its name and then its value. value + value->span is past all that is in it.
 */
#ifndef BASE_JSON_TREE_H
#define BASE_JSON_TREE_H

#include <stddef.h>
#include <stdint.h>

enum json_kind {
    JSON_null,
    JSON_false,
    JSON_true,
    JSON_number,
    JSON_string,
    JSON_array,
    JSON_object,
};

struct json_value {
    uint8_t kind;  /* enum json_kind */
    uint32_t span; /* values in this one, itself among them */
    uint32_t size; /* bytes of a string, items of an array, members of an object */
    union {
        double number;    /* the nearest double; infinite if there is none */
        const char *text; /* of a string: UTF-8 without escapes, may hold NUL, ends with none */
    };
};

/* A plain struct: zeroed is empty. */
struct json_tree {
    struct json_value *values;
    uint32_t count;
    char *unescaped;
};

/*
 * Read valid JSON of less than 4 GiB; the tree points into it. -E2BIG: it has more values than
 * `most`, names of members among them, or more than JSON_DEPTH_MAX levels. -ENOMEM: there is no
 * memory for it.
 */
int json_tree_read(struct json_tree *tree, const char *text, size_t length, uint32_t most);

void json_tree_finish(struct json_tree *tree);

#endif
