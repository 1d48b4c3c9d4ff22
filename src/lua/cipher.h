/* lua/cipher.h - AES in Galois/Counter mode (NIST SP 800-38D): texts that are both hidden and
 * proven unchanged. */
#ifndef VF_LUA_CIPHER_H
#define VF_LUA_CIPHER_H

#include <stddef.h>
#include <stdint.h>

enum { VF_GCM_TAG_BYTES = 16 };

struct vf_gcm; /* a key, prepared */

/* Prepares a key of 16 or 32 bytes; owned by the caller. NULL: another length, out of memory. */
struct vf_gcm *vf_gcm_new(const char *key, size_t len);
void vf_gcm_free(struct vf_gcm *gcm);

/* Encrypts `len` bytes of `text` to `out`, and writes the tag that covers them and `aad`. A nonce
 * is used once under a key. Returns 0 or UV_EINVAL (no nonce, more than 64 GiB of text). */
int vf_gcm_encrypt(struct vf_gcm *gcm, const char *nonce, size_t nonce_len, const char *aad,
                   size_t aad_len, const char *text, size_t len, uint8_t *out,
                   uint8_t tag[VF_GCM_TAG_BYTES]);

/* Decrypts `len` bytes of `text` to `out`. Returns 0, or UV_EINVAL when key, nonce, aad, text and
 * tag do not belong together; `out` is cleared then. */
int vf_gcm_decrypt(struct vf_gcm *gcm, const char *nonce, size_t nonce_len, const char *aad,
                   size_t aad_len, const char *text, size_t len, const char *tag, uint8_t *out);

#endif
