#include "protocol/chat_parts.h"

#include <string.h>

static cJSON *add_part(cJSON *parts, const char *type)
{
    cJSON *part = cJSON_CreateObject();

    cJSON_AddStringToObject(part, "type", type);
    cJSON_AddItemToArray(parts, part);
    return part;
}

void chat_part_text(cJSON *parts, const char *text)
{
    cJSON_AddStringToObject(add_part(parts, "text"), "text", text);
}

/* Return what follows "base64," in a data: URL, or NULL. */
static const char *base64_of(const char *url)
{
    const char *data = strncmp(url, "data:", 5) == 0 ? strchr(url, ',') : NULL;

    return data && data - url > 7 && strncmp(data - 7, ";base64", 7) == 0 ? data + 1 : NULL;
}

void chat_part_file(cJSON *parts, const char *url, const char *media_type, const char *name)
{
    const char *type = media_type ? media_type : "", *data = base64_of(url);
    cJSON *file;

    if (strncmp(type, "image/", 6) == 0 || strcmp(type, "image") == 0) {
        file = cJSON_AddObjectToObject(add_part(parts, "image_url"), "image_url");
        cJSON_AddStringToObject(file, "url", url);
        return;
    }
    if (strncmp(type, "audio/", 6) == 0 && data) {
        file = cJSON_AddObjectToObject(add_part(parts, "input_audio"), "input_audio");
        cJSON_AddStringToObject(file, "data", data);
        cJSON_AddStringToObject(file, "format", strcmp(type, "audio/mpeg") == 0 ? "mp3" : type + 6);
        return;
    }
    file = cJSON_AddObjectToObject(add_part(parts, "file"), "file");
    cJSON_AddStringToObject(file, strncmp(url, "data:", 5) == 0 ? "file_data" : "file_url", url);
    if (name)
        cJSON_AddStringToObject(file, "filename", name);
}

void chat_part_handle(cJSON *parts, const char *id)
{
    cJSON *file = cJSON_AddObjectToObject(add_part(parts, "file"), "file");

    cJSON_AddStringToObject(file, "file_id", id);
}

const char *chat_string(const cJSON *object, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

const char *chat_name(const cJSON *object, const char *name)
{
    const char *text = chat_string(object, name);

    return text && *text && strlen(text) <= CHAT_NAME_MAX ? text : NULL;
}
