/*
 * Loading, in five steps; a failure leaves the identity in use as it is:
 *
 *     tls_read()   1. read both files
 *                  2. parse the chain and the key, and check that they belong together
 *     tls_use()    3. stop here if the files' digests are those of the identity in use
 *                  4. log until when the certificate is valid
 *                  5. put the new identity in front of the list
 *
 * on_retrieve() hands GnuTLS pointers into the first identity. A handshake may
 * use them until it ends, so a replaced identity stays in the list for longer
 * than any handshake may take, and is destroyed at the next load after that.
 */
#include "http/tls.h"

#include "base/digest.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "base/why.h"

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

/* Longer than any handshake: connection_timeout is at most an hour. */
#define RETIREMENT (4000 * CLOCK_S)

struct tls_identity {
    gnutls_pcert_st chain[CHAIN_MAX];
    unsigned length;
    gnutls_privkey_t key;
    char *path;                            /* of the certificate */
    unsigned char digests[2][DIGEST_SIZE]; /* of both files */
    uint64_t retired;                      /* when it was replaced */
    struct tls_identity *older;
};

/* The identity in use, and after it those that handshakes may still use. */
static struct tls_identity *current;

void tls_discard(struct tls_identity *identity)
{
    if (identity == NULL)
        return;
    for (unsigned i = 0; i < identity->length; i++)
        gnutls_pcert_deinit(&identity->chain[i]);
    gnutls_privkey_deinit(identity->key);
    free(identity->path);
    free(identity);
}

static void forget_retired(void)
{
    struct tls_identity **link = &current->older;

    while (*link && clock_now() - (*link)->retired < RETIREMENT)
        link = &(*link)->older;
    while (*link) {
        struct tls_identity *identity = *link;
        *link = identity->older;
        tls_discard(identity);
    }
}

/* ---- reading ---- */

static int read_file(const char *name, const char *path, gnutls_datum_t *out, struct why *why)
{
    errno = 0;
    if (gnutls_load_file(path, out) == 0)
        return 0;
    return why_set(why, -EINVAL, "%s: cannot read %s: %s", name, path,
                   errno ? strerror(errno) : "not a file that can be read whole");
}

/* Return true if the key is that of the chain's first certificate. */
static bool identity_matches(const struct tls_identity *identity)
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

/* ---- the identity in use ---- */

static void identity_log(const struct tls_identity *identity)
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
        log_warn("certificate has expired file=%s until=%s", identity->path, text);
    else
        log_info("certificate loaded file=%s until=%s", identity->path, text);
}

int tls_read(const char *certificate_path, const char *key_path, struct tls_identity **out,
             struct why *why)
{
    struct tls_identity *identity = mem_alloc(sizeof *identity);
    gnutls_datum_t certificate = {0}, key = {0};
    unsigned length = CHAIN_MAX;
    int status;

    identity->path = mem_strdup(certificate_path);
    gnutls_privkey_init(&identity->key);

    /* 1. read */
    status = read_file("tls_certificate", certificate_path, &certificate, why);
    if (status < 0)
        goto destroy;
    status = read_file("tls_key", key_path, &key, why);
    if (status < 0)
        goto destroy;
    digest_make(certificate.data, certificate.size, identity->digests[0]);
    digest_make(key.data, key.size, identity->digests[1]);

    /* 2. parse */
    status = gnutls_pcert_list_import_x509_raw(identity->chain, &length, &certificate,
                                               GNUTLS_X509_FMT_PEM, 0);
    if (status < 0) {
        status = why_set(why, -EINVAL,
                         "tls_certificate: %s has no chain of 1 to %d certificates in PEM: %s",
                         certificate_path, CHAIN_MAX, gnutls_strerror(status));
        goto destroy;
    }
    identity->length = length;
    status = gnutls_privkey_import_x509_raw(identity->key, &key, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (status < 0) {
        status =
            why_set(why, -EINVAL, "tls_key: %s has no private key in PEM without a password: %s",
                    key_path, gnutls_strerror(status));
        goto destroy;
    }
    if (!identity_matches(identity)) {
        status = why_set(why, -EINVAL,
                         "tls_key: the key in %s is not that of the first certificate in %s",
                         key_path, certificate_path);
        goto destroy;
    }
    *out = identity;
    identity = NULL;

destroy:
    tls_discard(identity);
    gnutls_free(certificate.data);
    if (key.data)
        gnutls_memset(key.data, 0, key.size);
    gnutls_free(key.data);
    return status < 0 ? -EINVAL : 0;
}

void tls_use(struct tls_identity *identity)
{
    /* 3. compare */
    if (current && memcmp(current->digests, identity->digests, sizeof identity->digests) == 0) {
        tls_discard(identity);
        return;
    }

    /* 4. log */
    identity_log(identity);

    /* 5. use */
    if (current)
        current->retired = clock_now();
    identity->older = current;
    current = identity;
    forget_retired();
}

int tls_load(const char *certificate_path, const char *key_path, struct why *why)
{
    struct tls_identity *identity;
    int status = tls_read(certificate_path, key_path, &identity, why);

    if (status == 0)
        tls_use(identity);
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
        struct tls_identity *identity = current;
        current = identity->older;
        tls_discard(identity);
    }
}
