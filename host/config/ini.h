/*
 * Read an INI file: sections [KIND] and [KIND NAME], and KEY = VALUE in them,
 * each on one line. docs/configuration.md has the rules in "The file".
 */
#ifndef CONFIG_INI_H
#define CONFIG_INI_H

struct why;

/* Longest line of a file, in bytes without its newline. */
#define INI_LINE_MAX 65536

/*
 * Called for each section, with key and value NULL, then for each of its keys.
 * name is "" if the section has none, and so is kind for keys above all
 * sections. The texts are valid during the call. 0, or -EINVAL and why.
 */
typedef int ini_take(void *data, const char *kind, const char *name, const char *key,
                     const char *value, struct why *why);

/*
 * Read up to the first refusal: -EINVAL, or -errno if the file cannot be read;
 * why says where, too.
 */
int ini_read(const char *file, ini_take *take, void *data, struct why *why);

#endif
