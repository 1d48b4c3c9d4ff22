/* lua/encoding.h - bytes as text and back: Base64, hexadecimal, percent-encoding. Decoders are
 * strict: one text for one sequence of bytes, so that what was compared or signed as text means
 * the same as bytes. Not for secrets that a neighbour could time: they look up tables. */
#ifndef VF_LUA_ENCODING_H
#define VF_LUA_ENCODING_H

#include <stddef.h>

enum vf_base64_flags {
    VF_BASE64_URL = 1,      /* the alphabet with - and _ (RFC 4648 section 5) */
    VF_BASE64_UNPADDED = 2, /* without = at the end; a decoder refuses it then */
    VF_BASE64_LOOSE = 4     /* a decoder takes it with and without */
};

/* Every function here takes at most 2^30 bytes and writes to `out`, whose size the caller knows to
 * be enough. They return the bytes written; decoders -1 - offset, where `offset` is the first byte
 * that does not belong there (`len`: the text ends too early). */

/* Writes 4 characters for every 3 bytes begun, or fewer at the end when unpadded. */
int vf_base64_encode(const char *data, size_t len, char *out, int flags);

/* Writes at most len / 4 * 3 + 2 bytes. Bits that no byte uses must be 0 (RFC 4648 section 3.5).
 */
int vf_base64_decode(const char *text, size_t len, char *out, int flags);

/* Writes 2 * len lower-case digits. */
int vf_hex_encode(const char *data, size_t len, char *out);

/* Writes len / 2 bytes; digits of either case. */
int vf_hex_decode(const char *text, size_t len, char *out);

/* Writes at most 3 * len bytes: all but unreserved characters (RFC 3986 section 2.3) as %XX. */
int vf_url_encode(const char *data, size_t len, char *out);

/* Writes at most `len` bytes. `plus` not 0: + is a space, as in forms. */
int vf_url_decode(const char *text, size_t len, char *out, int plus);

#endif
