/* Parts of a message's content, in the shape of OpenAI's chat completions (chat.h). */
#ifndef PROTOCOL_CHAT_PARTS_H
#define PROTOCOL_CHAT_PARTS_H

#include <cjson/cJSON.h>

/* Maximum bytes of names that clients give to threads, runs and messages. */
#define CHAT_NAME_MAX 255

/* Add {"type":"text"} to the parts. */
void chat_part_text(cJSON *parts, const char *text);

/*
 * Add a file, by a URL that may be a data: URL: image_url for an image, input_audio for
 * sound in a data: URL, else file with file_data or file_url. media_type and name may be NULL.
 */
void chat_part_file(cJSON *parts, const char *url, const char *media_type, const char *name);

/* Add a file by the id that the model's provider knows it by: file with file_id. */
void chat_part_handle(cJSON *parts, const char *id);

/* Return the string that is the object's member, or NULL. */
const char *chat_string(const cJSON *object, const char *name);

/* Likewise, if it is a name of 1 to CHAT_NAME_MAX bytes. */
const char *chat_name(const cJSON *object, const char *name);

#endif
