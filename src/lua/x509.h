/* lua/x509.h - certificates, private keys and revocation lists as people have them, judged and made
 * into what a snapshot holds. For control and the command line, through lua/veloflux/x509.lua.
 * Source: RFC 5280 (certificates), RFC 7468 (their text form). */
#ifndef VF_LUA_X509_H
#define VF_LUA_X509_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum vf_x509_flags {
    VF_X509_IS_CA = 1, /* the first certificate is an authority's */
    VF_X509_SELF_SIGNED = 2 /* and signed itself */,
    VF_X509_WEAK_HASH = 4 /* one of the chain is signed with SHA-1 or MD5, but for a root */
};

/* What certificates say; of the first unless told otherwise. Texts belong to the object. */
struct vf_x509 {
    uint32_t n;                        /* certificates of the text */
    uint32_t flags;                    /* enum vf_x509_flags */
    int64_t not_before_s, not_after_s; /* seconds of the wall clock */
    int64_t last_after_s;              /* when the first of the whole chain ends */
    uint32_t key_bits;
    uint32_t broken_link;    /* this certificate (from 1) was not issued by the next; 0: all were */
    uint8_t fingerprint[32]; /* SHA-256 of its DER */
    struct vf_str subject, issuer, serial;
    struct vf_str key_kind; /* "RSA" or "EC" */
    struct vf_str names;    /* of the subjectAltName: "example.com" and addresses, each followed by
                               NUL; the common name when it has none */
    struct vf_str der;      /* all of them, one behind the other */
};

/* Reads PEM text. Returns 0 with an object that the caller frees, or a negative code and a sentence
 * in *problem (static memory). */
int vf_x509_read(const char *pem, size_t len, struct vf_x509 **out, const char **problem);
void vf_x509_free(struct vf_x509 *certificates);

/* The same for a list of authorities: those of an unknown kind are left out, but for the last one
 * left. */
int vf_x509_read_authorities(const char *pem, size_t len, struct vf_x509 **out,
                             const char **problem);

/* A private key as DER (SEC1 or PKCS#1), for the certificates it may belong to. */
struct vf_x509_key {
    struct vf_str der;
    uint32_t bits;
    uint32_t reserved;
    struct vf_str kind; /* "RSA" or "EC" */
};

/* As vf_x509_read. The memory is cleared when it is freed. */
int vf_x509_read_key(const char *pem, size_t len, struct vf_x509_key **out, const char **problem);
void vf_x509_free_key(struct vf_x509_key *key);

/* Returns which certificate (from 1) the key belongs to, or 0. */
uint32_t vf_x509_owner(const struct vf_x509 *certificates, const struct vf_x509_key *key);

/* Revocation lists. */
struct vf_x509_revocations {
    uint32_t n, reserved;
    int64_t next_update_s; /* the earliest; 0: none says */
    struct vf_str der;
};
int vf_x509_read_revocations(const char *pem, size_t len, struct vf_x509_revocations **out,
                             const char **problem);
void vf_x509_free_revocations(struct vf_x509_revocations *revocations);

#endif
