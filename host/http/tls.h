/*
 * The server's TLS identity: a chain of certificates and the private key of the
 * first certificate, from two PEM files. It can be loaded again while the server
 * serves: later handshakes use the new identity, handshakes under way may still
 * use the old one, and open connections need none.
 *
 * A process has one identity, because GnuTLS does not say for whom it asks.
 */
#ifndef HTTP_TLS_H
#define HTTP_TLS_H

struct tls_identity;
struct why;

/*
 * Read both files, on any thread. -EINVAL and why: which file, and what is wrong
 * with it.
 */
int tls_read(const char *certificate_path, const char *key_path, struct tls_identity **out,
             struct why *why);

/* Use it from now on, and take it over; do nothing if the files are as they were. */
void tls_use(struct tls_identity *identity);

/* identity may be NULL. */
void tls_discard(struct tls_identity *identity);

/* Read and use; after a failure the identity that was loaded before stays. */
int tls_load(const char *certificate_path, const char *key_path, struct why *why);

/* For http_settings.retrieve_certificate. */
void *tls_retriever(void);

void tls_unload(void);

#endif
