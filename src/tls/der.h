/* tls/der.h - lists of DER values, one behind the other: how certificates and revocation lists
 * stand in a snapshot. Private to src/tls. */
#ifndef VF_TLS_DER_H
#define VF_TLS_DER_H

#include <mbedtls/x509_crl.h>
#include <mbedtls/x509_crt.h>

#include "base/str.h"

/* Takes the value at the front of *list into *value. Returns false at the end, or when what is left
 * is no complete value. */
bool vf_tls_next_der(struct vf_str *list, struct vf_str *value);

/* Appends all certificates, or revocation lists, of `list`. Returns 0 or a code of mbedTLS. */
int vf_tls_parse_certificates(mbedtls_x509_crt *chain, struct vf_str list);
int vf_tls_parse_revocations(mbedtls_x509_crl *revocations, struct vf_str list);

/* Random numbers of the system, for callers without a vf_tls. The first argument is not used. */
int vf_tls_system_random(void *unused, unsigned char *out, size_t len);

#endif
