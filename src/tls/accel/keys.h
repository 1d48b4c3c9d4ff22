/* tls/accel/keys.h - private keys that libcrypto signs with in mbedTLS's place. A key is prepared
 * once, when its certificate is loaded; one that is not stays with mbedTLS, which is slower and
 * otherwise the same. Not for several threads. */
#ifndef VF_TLS_ACCEL_KEYS_H
#define VF_TLS_ACCEL_KEYS_H

#include <mbedtls/pk.h>

struct ec_key_st;
struct rsa_st;

struct vf_accel_key {
    const mbedtls_pk_context *pk; /* whose key it is */
    struct rsa_st *rsa;           /* one of the two */
    struct ec_key_st *ec;
};

#if VF_TLS_ACCEL

/* Prepares the key in `pk`, which stays where it is until `vf_accel_forget`. */
void vf_accel_prepare(const mbedtls_pk_context *pk);

/* Before `pk` is freed. One that was never prepared is fine. */
void vf_accel_forget(const mbedtls_pk_context *pk);

/* Returns what was prepared, or NULL. */
const struct vf_accel_key *vf_accel_key(const mbedtls_pk_context *pk);

#else /* built with TLS_ACCEL=0 */

static inline void vf_accel_prepare(const mbedtls_pk_context *pk)
{
    (void)pk;
}

static inline void vf_accel_forget(const mbedtls_pk_context *pk)
{
    (void)pk;
}

#endif
#endif
