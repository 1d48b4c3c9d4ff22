/* lua/x509_parts.h - what the readers of certificates and of keys share: PEM text on its way in,
 * texts on their way out. Private to them. */
#ifndef VF_LUA_X509_PARTS_H
#define VF_LUA_X509_PARTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

/* Returns `code`, with the sentence in *problem. */
int vf_x509_refuse(const char **problem, int code, const char *text);

/* True when the PEM text has a block of that label: "CERTIFICATE". */
bool vf_x509_has_block(const char *pem, size_t len, const char *label);

/* Returns a copy that ends with a NUL, as mbedTLS reads PEM; the caller frees it. NULL without
 * memory. */
unsigned char *vf_x509_terminated(const char *pem, size_t len);

/* A growing text. */
struct vf_x509_text {
    char *data;
    size_t len, room;
};

/* Returns false without memory. */
bool vf_x509_append(struct vf_x509_text *text, const void *data, size_t len);

/* Returns what it has come to, freed by vf_x509_free_str. */
struct vf_str vf_x509_give(struct vf_x509_text *text);
void vf_x509_free_str(struct vf_str text);

/* Copies a text to *out. Returns false without memory. */
bool vf_x509_copy(const char *data, size_t len, struct vf_str *out);

#endif
