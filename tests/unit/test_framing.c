#include "../case.h"
#include "http/framing.h"
#include "http/target.h"

#include <stdlib.h>
#include <string.h>

/* ---- framing ---- */

static const struct {
    const char *headers[7]; /* name, value, ... */
    bool http_1_0;
    unsigned status; /* 0: nothing is wrong */
} heads[] = {
    {{"Host", "h"}, .status = 0},
    {{"Host", ""}, .status = 0},
    {{"host", "h:80"}, .status = 0},
    {{"HOST", "[::1]:80"}, .status = 0},
    {{"Host", "[::1]"}, .status = 0},
    {{"Host", "a_b.example:"}, .status = 0},
    {{NULL}, .http_1_0 = true, .status = 0},
    {{NULL}, .status = 400},
    {{"Host", "h", "Host", "h"}, .status = 400},
    {{"Host", "h", "host", "i"}, .http_1_0 = true, .status = 400},
    {{"Host", "h, i"}, .status = 400},
    {{"Host", "h,i"}, .status = 400},
    {{"Host", "h:1:2"}, .status = 400},
    {{"Host", "h:x"}, .status = 400},
    {{"Host", ":1"}, .status = 400},
    {{"Host", "[]"}, .status = 400},
    {{"Host", "[::1"}, .status = 400},
    {{"Host", "[::1]1"}, .status = 400},
    {{"Host", "[::1]:x"}, .status = 400},
    {{"Host", "u@h"}, .status = 400},
    {{"Host", "h/"}, .status = 400},
    {{"Host", "h", "Content-Length", "0"}, .status = 0},
    {{"Host", "h", "content-length", "0012"}, .status = 0},
    {{"Host", "h", "Content-Length", "1", "Content-Length", "1"}, .status = 400},
    {{"Host", "h", "Content-Length", "1,1"}, .status = 400},
    {{"Host", "h", "Content-Length", ""}, .status = 400},
    {{"Host", "h", "Content-Length", "+1"}, .status = 400},
    {{"Host", "h", "Content-Length", "1 "}, .status = 400},
    {{"Host", "h", "Transfer-Encoding", "chunked"}, .status = 0},
    {{"Host", "h", "Transfer-Encoding", "Chunked"}, .status = 0},
    {{"Host", "h", "Transfer-Encoding", "chunked "}, .status = 501},
    {{"Host", "h", "Transfer-Encoding", "gzip, chunked"}, .status = 501},
    {{"Host", "h", "Transfer-Encoding", ""}, .status = 501},
    {{"Host", "h", "Transfer-Encoding", "chunked", "Transfer-Encoding", "chunked"}, .status = 400},
    {{"Host", "h", "Transfer-Encoding", "chunked", "Content-Length", "1"}, .status = 400},
    {{"Host", "h", "Transfer-Encoding", "chunked"}, .http_1_0 = true, .status = 400},
    {{"Host", "h", "Transfer-Encoding ", "chunked"}, .status = 400},
    {{"Host", "h", "", "x"}, .status = 400},
    {{"Host", "h", "a b", "x"}, .status = 400},
    {{"Host", "h", "a:b", "x"}, .status = 400},
};

CASE_LOOP(a_head_is_framed_once, 0, sizeof heads / sizeof *heads)
{
    const char *const *header = heads[_i].headers;
    struct framing framing = {0};
    const struct framing_fault *fault;

    for (; header[0]; header += 2)
        framing_add(&framing, header[0], header[1]);
    fault = framing_fault(&framing, !heads[_i].http_1_0);
    ck_assert_uint_eq(fault ? fault->status : 0, heads[_i].status);
}

/* ---- targets ---- */

static struct target target;
static char *room;

/* What is written stays in exactly the room that is promised. */
static const char *parse(const char *text)
{
    free(room);
    room = malloc(TARGET_ROOM(strlen(text)));
    return target_parse(text, room, &target);
}

static void forget(void)
{
    free(room);
    room = NULL;
}

CASES("targets", .teardown = forget);

static const struct {
    const char *text, *path, *authority;
} paths[] = {
    {"/", "/", NULL},
    {"*", "*", NULL},
    {"/a/b?c", "/a/b", NULL},
    {"/%61%2D", "/a-", NULL},
    {"/a%2fb%2Fc", "/a%2fb%2Fc", NULL},
    {"/%252e", "/%2e", NULL},
    {"/a+b", "/a+b", NULL},
    {"/\xc3\xbc%c3%bc", "/\xc3\xbc\xc3\xbc", NULL},
    {"/a/../b/.", "/a/../b/.", NULL},
    {"/%2e%2E/%5c\\%0a", "/../\\\\\n", NULL},
    {"//a", "//a", NULL},
    {"http://h", "/", "h"},
    {"http://h?a", "/", "h"},
    {"HTTPS://h:8/x", "/x", "h:8"},
    {"http://[::1]:8/x/", "/x/", "[::1]:8"},
};

CASE_LOOP(a_path_is_decoded, 0, sizeof paths / sizeof *paths)
{
    ck_assert_ptr_null(parse(paths[_i].text));
    ck_assert_str_eq(target.path, paths[_i].path);
    if (paths[_i].authority)
        ck_assert_str_eq(target.authority, paths[_i].authority);
    else
        ck_assert_ptr_null(target.authority);
}

static const char *const bad[] = {
    "",         "a",          "/ ",       "/\t",         "/a#b",     "/%",     "/%0",
    "/%x0",     "/%0x",       "/%00",     "/a%00b",      "/?%",      "/?a=%0", "/?a=%00",
    "/?%00=a",  "http://",    "http:///", "http://u@h/", "ftp://h/", "http:/", "http://h,i/",
    "http://:", "http://[1/", "h:80",     "*a",          "/\x7f",    "/\x01",  "http://h:/%",
};

CASE_LOOP(what_others_may_cut_is_refused, 0, sizeof bad / sizeof *bad)
{
    ck_assert_ptr_nonnull(parse(bad[_i]));
}

static const struct {
    const char *text;
    const char *pairs[7];
} queries[] = {
    {"/?", {NULL}},
    {"/?&&", {NULL}},
    {"/?a", {"a", ""}},
    {"/?a&b&c", {"a", "", "b", "", "c", ""}},
    {"/?a=&b==c", {"a", "", "b", "=c"}},
    {"/?=a", {"", "a"}},
    {"/?a=1&a=2&", {"a", "1", "a", "2"}},
    {"/?%61%3d=%26+x%2B/?", {"a=", "& x+/?"}},
    {"http://h?a=b", {"a", "b"}},
};

CASE_LOOP(a_query_is_pairs, 0, sizeof queries / sizeof *queries)
{
    const char *const *pair = queries[_i].pairs, *name = NULL;

    ck_assert_ptr_null(parse(queries[_i].text));
    while ((name = target_next(&target, name))) {
        ck_assert_str_eq(name, pair[0]);
        ck_assert_str_eq(target_value(name), pair[1]);
        pair += 2;
    }
    ck_assert_ptr_null(pair[0]);
}

CASE(the_first_of_a_name_is_found)
{
    ck_assert_ptr_null(parse("/?a=1&b=2&a=3"));
    ck_assert_str_eq(target_find(&target, "a"), "1");
    ck_assert_str_eq(target_find(&target, "b"), "2");
    ck_assert_ptr_null(target_find(&target, "1"));
}
