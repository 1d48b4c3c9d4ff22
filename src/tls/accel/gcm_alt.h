/* tls/accel/gcm_alt.h - the context of AES-GCM, which mbedtls/gcm.h includes in place of its own.
 * The functions are in gcm.c. */
#ifndef VF_TLS_ACCEL_GCM_ALT_H
#define VF_TLS_ACCEL_GCM_ALT_H

#include <stddef.h>

struct evp_cipher_ctx_st;

typedef struct mbedtls_gcm_context {
    struct evp_cipher_ctx_st *whole; /* keyed: for messages that are there as a whole */
    size_t nonce_len;                /* that `whole` is set for */
    struct vf_gcm_pieces *pieces;    /* for one that comes in pieces; NULL until it does */
    unsigned char key[32];
    unsigned key_bits; /* 0: no key was set */
} mbedtls_gcm_context;

#endif
