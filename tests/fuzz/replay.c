/* Give each file of a folder to the target: the folder is the argument, or corpus/NAME. */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The bytes have a place of just their size, so that a read past their end is seen. */
static void replay_file(const char *path)
{
    FILE *file = fopen(path, "r");
    struct stat info;
    uint8_t *bytes;

    if (file == NULL || fstat(fileno(file), &info) < 0) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    bytes = malloc((size_t)info.st_size + !info.st_size);
    if (bytes == NULL || fread(bytes, 1, (size_t)info.st_size, file) != (size_t)info.st_size) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    LLVMFuzzerTestOneInput(bytes, (size_t)info.st_size);
    free(bytes);
    fclose(file);
}

int main(int argc, char **argv)
{
    const char *name = strrchr(*argv, '/') ? strrchr(*argv, '/') + 1 : *argv;
    const char *tree = getenv("SLUICE_SRCDIR");
    struct dirent **files;
    char folder[4096], path[8192];
    int count;

    snprintf(folder, sizeof(folder), "%s/tests/fuzz/corpus/%s", tree ? tree : ".", name);
    if (argc > 1)
        snprintf(folder, sizeof(folder), "%s", argv[1]);
    count = scandir(folder, &files, NULL, alphasort);
    if (count <= 2) {
        fprintf(stderr, "%s: no files in %s\n", name, folder);
        return EXIT_FAILURE;
    }
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, files[i]->d_name);
        if (*files[i]->d_name != '.') {
            printf("%s\n", path);
            fflush(stdout);
            replay_file(path);
        }
        free(files[i]);
    }
    free(files);
    return EXIT_SUCCESS;
}
