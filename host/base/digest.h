/* SHA-256 (FIPS 180-4). */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include <stddef.h>

#define DIGEST_SIZE 32

void digest_make(const void *data, size_t length, unsigned char digest[DIGEST_SIZE]);

#endif
