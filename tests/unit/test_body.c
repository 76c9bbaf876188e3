/* Bodies as trees: what is printed of them is what was read. */
#include "../case.h"
#include "protocol/body.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

CASES("body");

static void expect_same(const char *json)
{
    cJSON *tree;
    char *printed;

    ck_assert_int_eq(body_read(json, strlen(json), &tree), 0);
    printed = cJSON_PrintUnformatted(tree);
    ck_assert_str_eq(printed, json);
    free(printed);
    cJSON_Delete(tree);
}

CASE(numbers_stay_as_they_are)
{
    expect_same("9007199254740993");
    expect_same("-12345678901234567890");
    expect_same("[0,-0,1,-1,999999999,1000000000,0.10,1E400,-1.5e+3]");
    expect_same("{\"a\":{\"b\":[1.0,{\"c\":2.50}],\"d\":\"3.0\"},\"e\":[],\"f\":{},\"g\":4.00}");
    expect_same("[\"1.0\",\"a\\\"2.0\\\\\",3.0,[[[4.0]],5.0],null,true,6.0]");
}

CASE(end_of_the_text_ends_a_number)
{
    cJSON *tree;
    char *printed;

    ck_assert_int_eq(body_read("1.25", 3, &tree), 0);
    printed = cJSON_PrintUnformatted(tree);
    ck_assert_str_eq(printed, "1.2");
    free(printed);
    cJSON_Delete(tree);
}

CASE(every_number_has_its_value)
{
    static const double wanted[] = {7, 0.5, 12345678901};
    const cJSON *item;
    unsigned count = 0;
    cJSON *tree;
    double number;

    ck_assert_int_eq(body_read("[7,\"8\",0.5,12345678901]", 23, &tree), 0);
    cJSON_ArrayForEach(item, tree) {
        if (body_number(item, &number))
            ck_assert_double_eq(number, wanted[count++]);
    }
    ck_assert_uint_eq(count, 3);
    ck_assert(!body_number(NULL, &number));
    cJSON_Delete(tree);
}

static void expect_refusal(const char *json, int status)
{
    cJSON *tree = NULL;

    ck_assert_int_eq(body_read(json, strlen(json), &tree), status);
    ck_assert_ptr_null(tree);
}

CASE(no_string_is_cut)
{
    expect_refusal("{\"a\":[1.0,\"b\\u0000c\"]}", -EILSEQ);
    expect_refusal("{\"a\\u0000\":1}", -EILSEQ);
    expect_same("\"\\\\u0000\"");
}

static void expect_text(const char *json, const char *wanted)
{
    cJSON *tree;

    ck_assert_int_eq(body_read(json, strlen(json), &tree), 0);
    ck_assert_str_eq(cJSON_GetStringValue(tree), wanted);
    cJSON_Delete(tree);
}

CASE(half_a_surrogate_pair_is_replaced)
{
    expect_text("\"a\\ud83d\"", "a\xef\xbf\xbd");
    expect_text("\"\\uDE00b\"", "\xef\xbf\xbd"
                                "b");
    expect_text("\"\\ud83d\\ud83d\\ude00\\udE00\"", "\xef\xbf\xbd\xf0\x9f\x98\x80\xef\xbf\xbd");
    expect_text("\"\\ud83d\\n\\\\ud83d\"", "\xef\xbf\xbd\n\\ud83d");
    expect_text("\"\\ud7ff\\ue000\"", "\xed\x9f\xbf\xee\x80\x80");
}

/* As deep as JSON may be here. */
CASE(depth)
{
    char json[2 * 512 + 8];

    memset(json, '[', 512);
    memset(json + 512, ']', 512);
    json[1024] = '\0';
    memmove(json + 512 + 3, json + 512, 513);
    memcpy(json + 512, "1.0", 3);
    expect_same(json);
}
