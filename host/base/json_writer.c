#include "base/json_writer.h"

#include "base/json.h"

#include <string.h>

static void put_name(struct json_writer *json, const char *name)
{
    if (json->comma)
        buf_puts(json->out, ",");
    json->comma = true;
    if (name)
        buf_printf(json->out, "\"%s\":", name);
}

void json_open(struct json_writer *json, const char *name, char bracket)
{
    put_name(json, name);
    buf_append(json->out, &bracket, 1);
    json->comma = false;
}

void json_close(struct json_writer *json, char bracket)
{
    buf_append(json->out, &bracket, 1);
    json->comma = true;
}

void json_text(struct json_writer *json, const char *name, const char *text)
{
    if (text == NULL)
        return;
    put_name(json, name);
    json_append_string(json->out, text);
}

void json_number(struct json_writer *json, const char *name, uint64_t number)
{
    put_name(json, name);
    buf_number(json->out, number);
}

void json_flag(struct json_writer *json, const char *name, bool flag)
{
    json_raw(json, name, flag ? "true" : "false", flag ? strlen("true") : strlen("false"));
}

void json_raw(struct json_writer *json, const char *name, const char *value, size_t length)
{
    put_name(json, name);
    buf_append(json->out, value, length);
}
