#include "base/digest.h"

#include "base/log.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

void digest_make(const void *data, size_t length, unsigned char digest[DIGEST_SIZE])
{
    int status = gnutls_hash_fast(GNUTLS_DIG_SHA256, data, length, digest);

    if (status < 0)
        log_fatal("GnuTLS makes no SHA-256: %s", gnutls_strerror(status));
}
