/*
 * The server's TLS identity: a chain of certificates and the private key of the
 * first one, from two PEM files. It can be loaded again while the server
 * serves: handshakes to come use the new one, those under way may still use the
 * old one, and what is already encrypted does not need one.
 *
 * There is one in the process, as GnuTLS asks for it without saying whose.
 */
#ifndef HTTP_TLS_H
#define HTTP_TLS_H

#include <stddef.h>

/*
 * -EINVAL and one line in error that says what is wrong with which file; what
 * was loaded before then stays. Does nothing if both files are as they were.
 */
int tls_load(const char *certificate, const char *key, char *error, size_t size);

/* For http_settings.retrieve_certificate. */
void *tls_retriever(void);

void tls_unload(void);

#endif
