/*
 * Reads an INI file: sections [KIND] and [KIND NAME], and KEY = VALUE in them,
 * each on one line. docs/configuration.md has the rules in "The file".
 */
#ifndef CONFIG_INI_H
#define CONFIG_INI_H

/* Longest line of a file, in bytes without its newline. */
#define INI_LINE_MAX 65536

/*
 * Called for each section, with key and value NULL, then for each of its keys.
 * name is "" if the section has none; kind too for keys above all sections. The
 * texts are good during the call. NULL, or why it is refused: allocated, the
 * reader frees it.
 */
typedef char *ini_take(void *data, const char *kind, const char *name, const char *key,
                       const char *value);

/*
 * The first refusal ends the reading: -EINVAL, or -errno if the file cannot be
 * read, and *message says where and why; the caller frees it.
 */
int ini_read(const char *file, ini_take *take, void *data, char **message);

#endif
