#include "http/tls.h"

#include "base/digest.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"

#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHAIN_MAX 16

/* No handshake takes as long: connection_timeout is less. */
#define RETIREMENT (4000 * CLOCK_S)

struct identity {
    gnutls_pcert_st chain[CHAIN_MAX];
    unsigned length;
    gnutls_privkey_t key;
    unsigned char digests[2][DIGEST_SIZE]; /* of both files */
    uint64_t retired;                      /* when it was replaced */
    struct identity *older;
};

/* The one in use, and behind it those that handshakes may still use. */
static struct identity *current;

/* The files while they are read. */
struct source {
    const char *certificate_path, *key_path;
    gnutls_datum_t certificate, key;
    char *error;
    size_t error_size;
};

static void identity_destroy(struct identity *identity)
{
    for (unsigned i = 0; i < identity->length; i++)
        gnutls_pcert_deinit(&identity->chain[i]);
    gnutls_privkey_deinit(identity->key);
    free(identity);
}

static void forget_retired(void)
{
    struct identity **link = &current->older;

    while (*link && clock_now() - (*link)->retired < RETIREMENT)
        link = &(*link)->older;
    while (*link) {
        struct identity *identity = *link;
        *link = identity->older;
        identity_destroy(identity);
    }
}

/* ---- reading ---- */

__attribute__((format(printf, 2, 3))) static int refuse(const struct source *source,
                                                        const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(source->error, source->error_size, format, args);
    va_end(args);
    return -EINVAL;
}

static int read_file(const struct source *source, const char *name, const char *path,
                     gnutls_datum_t *out)
{
    errno = 0;
    if (gnutls_load_file(path, out) == 0)
        return 0;
    return refuse(source, "%s: cannot read %s: %s", name, path,
                  errno ? strerror(errno) : "not a file that can be read whole");
}

static int source_open(struct source *source)
{
    int status =
        read_file(source, "tls_certificate", source->certificate_path, &source->certificate);

    return status < 0 ? status : read_file(source, "tls_key", source->key_path, &source->key);
}

static void source_close(struct source *source)
{
    gnutls_free(source->certificate.data);
    if (source->key.data)
        gnutls_memset(source->key.data, 0, source->key.size);
    gnutls_free(source->key.data);
}

static void source_digest(const struct source *source, unsigned char digests[2][DIGEST_SIZE])
{
    digest_make(source->certificate.data, source->certificate.size, digests[0]);
    digest_make(source->key.data, source->key.size, digests[1]);
}

/* Whether the key is that of the chain's first certificate. */
static bool identity_matches(const struct identity *identity)
{
    unsigned char ids[2][DIGEST_SIZE];
    size_t sizes[2] = {DIGEST_SIZE, DIGEST_SIZE};
    gnutls_pubkey_t public;
    bool same;

    gnutls_pubkey_init(&public);
    same = gnutls_pubkey_import_privkey(public, identity->key, 0, 0) == 0 &&
           gnutls_pubkey_get_key_id(public, GNUTLS_KEYID_USE_SHA256, ids[0], &sizes[0]) == 0 &&
           gnutls_pubkey_get_key_id(identity->chain[0].pubkey, GNUTLS_KEYID_USE_SHA256, ids[1],
                                    &sizes[1]) == 0 &&
           sizes[0] == sizes[1] && memcmp(ids[0], ids[1], sizes[0]) == 0;
    gnutls_pubkey_deinit(public);
    return same;
}

static int identity_read(struct identity *identity, const struct source *source)
{
    unsigned length = CHAIN_MAX;
    int status = gnutls_pcert_list_import_x509_raw(identity->chain, &length, &source->certificate,
                                                   GNUTLS_X509_FMT_PEM, 0);

    if (status < 0)
        return refuse(source, "tls_certificate: %s has no chain of 1 to %d certificates in PEM: %s",
                      source->certificate_path, CHAIN_MAX, gnutls_strerror(status));
    identity->length = length;
    status =
        gnutls_privkey_import_x509_raw(identity->key, &source->key, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (status < 0)
        return refuse(source, "tls_key: %s has no private key in PEM without a password: %s",
                      source->key_path, gnutls_strerror(status));
    if (!identity_matches(identity))
        return refuse(source, "tls_key: the key in %s is not that of the first certificate in %s",
                      source->key_path, source->certificate_path);
    return 0;
}

/* ---- the one in use ---- */

static void identity_log(const struct identity *identity, const char *path)
{
    gnutls_x509_crt_t certificate;
    char text[32] = "";
    time_t until;
    struct tm utc;

    if (gnutls_pcert_export_x509((gnutls_pcert_st *)&identity->chain[0], &certificate) < 0)
        return;
    until = gnutls_x509_crt_get_expiration_time(certificate);
    gnutls_x509_crt_deinit(certificate);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&until, &utc));
    if (until < time(NULL))
        log_warn("the certificate has expired file=%s until=%s", path, text);
    else
        log_info("the certificate is loaded file=%s until=%s", path, text);
}

static void identity_use(struct identity *identity)
{
    if (current)
        current->retired = clock_now();
    identity->older = current;
    current = identity;
    forget_retired();
}

static int source_load(const struct source *source)
{
    struct identity *identity = mem_alloc(sizeof *identity);
    int status;

    gnutls_privkey_init(&identity->key);
    source_digest(source, identity->digests);
    if (current && memcmp(current->digests, identity->digests, sizeof identity->digests) == 0) {
        identity_destroy(identity);
        return 0;
    }
    status = identity_read(identity, source);
    if (status < 0) {
        identity_destroy(identity);
        return status;
    }
    identity_log(identity, source->certificate_path);
    identity_use(identity);
    return 0;
}

int tls_load(const char *certificate, const char *key, char *error, size_t size)
{
    struct source source = {
        .certificate_path = certificate, .key_path = key, .error = error, .error_size = size};
    int status = source_open(&source);

    if (status == 0)
        status = source_load(&source);
    source_close(&source);
    return status;
}

static int on_retrieve(gnutls_session_t session, const gnutls_datum_t *authorities, int count,
                       const gnutls_pk_algorithm_t *algorithms, int algorithm_count,
                       gnutls_pcert_st **chain, unsigned *length, gnutls_privkey_t *key)
{
    (void)session;
    (void)authorities;
    (void)count;
    (void)algorithms;
    (void)algorithm_count;
    *chain = current->chain;
    *length = current->length;
    *key = current->key;
    return 0;
}

void *tls_retriever(void)
{
    return (void *)on_retrieve;
}

void tls_unload(void)
{
    while (current) {
        struct identity *identity = current;
        current = identity->older;
        identity_destroy(identity);
    }
}
