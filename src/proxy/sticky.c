#include "proxy/sticky.h"

#include <inttypes.h>
#include <mbedtls/md.h>
#include <stdio.h>

#include "base/error.h"
#include "http/cookie.h"
#include "proxy/availability.h"
#include "snapshot/snapshot.h"

enum { BODY_BYTES = 16, TAG_BYTES = 16, TOKEN_BYTES = BODY_BYTES + TAG_BYTES };

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void put_u64(uint8_t *out, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(value >> (56 - 8 * i));
}

static uint64_t get_u64(const uint8_t *data)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | data[i];
    return value;
}

/* base64url without padding, RFC 4648 section 5: 32 bytes to 43 characters. */
static void encode(const uint8_t data[TOKEN_BYTES], char out[VF_STICKY_VALUE_BYTES])
{
    uint32_t bits = 0, n_bits = 0;
    char *next = out;
    for (int i = 0; i < TOKEN_BYTES; i++) {
        bits = bits << 8 | data[i];
        for (n_bits += 8; n_bits >= 6; n_bits -= 6)
            *next++ = alphabet[bits >> (n_bits - 6) & 63];
    }
    *next = alphabet[bits << (6 - n_bits) & 63];
}

static int digit_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* Returns false for anything that `encode` does not write. */
static bool decode(struct vf_str text, uint8_t data[TOKEN_BYTES])
{
    uint32_t bits = 0, n_bits = 0, n = 0;
    if (text.len != VF_STICKY_VALUE_BYTES)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        int digit = digit_of(text.data[i]);
        if (digit < 0)
            return false;
        bits = bits << 6 | (uint32_t)digit;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            data[n++] = (uint8_t)(bits >> n_bits);
        }
    }
    return (bits & ((1U << n_bits) - 1)) == 0;
}

/* Fills the tag behind the body. A failure of the library gives a tag that nobody else can make
 * either way: false. */
static bool sign(const struct vf_snapshot *snapshot, const uint8_t body[BODY_BYTES],
                 uint8_t tag[TAG_BYTES])
{
    const struct vf_snap_settings *settings = vf_snap_settings(snapshot);
    uint8_t digest[32];
    int rc = mbedtls_md_hmac(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), settings->sticky_key,
                             sizeof(settings->sticky_key), body, BODY_BYTES, digest);
    memcpy(tag, digest, TAG_BYTES);
    return rc == 0;
}

void vf_sticky_make(const struct vf_snapshot *snapshot, uint64_t backend_id, uint64_t wall_ms,
                    char out[VF_STICKY_VALUE_BYTES])
{
    uint8_t token[TOKEN_BYTES];
    put_u64(token, backend_id);
    put_u64(token + 8, wall_ms);
    if (!sign(snapshot, token, token + BODY_BYTES)) /* out of memory: a cookie that never counts */
        memset(token, 0, sizeof(token));
    encode(token, out);
}

static size_t put_attributes(char *out, size_t room, uint64_t ttl_ms, bool is_secure)
{
    char max_age[40] = "";
    if (ttl_ms > 0)
        snprintf(max_age, sizeof(max_age), "; Max-Age=%" PRIu64, (ttl_ms + 999) / 1000);
    int len = snprintf(out, room, "; Path=/%s; HttpOnly; SameSite=Lax%s", max_age,
                       is_secure ? "; Secure" : "");
    return len > 0 && (size_t)len < room ? (size_t)len : 0;
}

size_t vf_sticky_field(const struct vf_snapshot *snapshot, uint32_t pool_index,
                       uint32_t backend_index, uint64_t wall_ms, bool is_secure,
                       char out[VF_STICKY_FIELD_BYTES])
{
    const struct vf_snap_pool *pool = vf_snap_pool(snapshot, pool_index);
    struct vf_str name = vf_snap_str(snapshot, pool->sticky_cookie);
    size_t len = name.len + 1 + VF_STICKY_VALUE_BYTES;
    if (len >= VF_STICKY_FIELD_BYTES)
        return 0;
    memcpy(out, name.data, name.len);
    out[name.len] = '=';
    vf_sticky_make(snapshot, vf_snap_backend(snapshot, backend_index)->id, wall_ms,
                   out + name.len + 1);
    size_t rest =
        put_attributes(out + len, VF_STICKY_FIELD_BYTES - len, pool->sticky_ttl_ms, is_secure);
    return rest > 0 ? len + rest : 0;
}

/* Compares in a time that does not depend on where tags differ. */
static bool is_equal(const uint8_t *a, const uint8_t *b, size_t len)
{
    uint8_t difference = 0;
    for (size_t i = 0; i < len; i++)
        difference |= a[i] ^ b[i];
    return difference == 0;
}

/* Reads a value whose signature is right. */
static bool read_value(const struct vf_snapshot *snapshot, struct vf_str value,
                       uint64_t *backend_id, uint64_t *issued_ms)
{
    uint8_t token[TOKEN_BYTES], tag[TAG_BYTES];
    if (!decode(value, token) || !sign(snapshot, token, tag) ||
        !is_equal(tag, token + BODY_BYTES, TAG_BYTES))
        return false;
    *backend_id = get_u64(token);
    *issued_ms = get_u64(token + 8);
    return true;
}

/* Drained backends go on serving those whom they served. */
static bool serves_session(const struct vf_state *state, uint32_t slot, uint64_t now_ns)
{
    enum vf_availability availability = vf_backend_availability(&state->backends[slot], now_ns);
    return availability == VF_AVAILABLE || availability == VF_DRAINING;
}

static bool find_backend(const struct vf_snapshot *snapshot, const struct vf_snap_pool *pool,
                         uint64_t id, uint32_t *index)
{
    for (uint32_t i = pool->backends.first; i < pool->backends.first + pool->backends.count; i++) {
        if (vf_snap_backend(snapshot, i)->id != id)
            continue;
        *index = i;
        return true;
    }
    return false;
}

/* Judges one value; stores what vf_sticky_find promises. */
static bool accept_value(const struct vf_snapshot *snapshot, const struct vf_state *state,
                         const struct vf_snap_pool *pool, struct vf_str value, uint64_t wall_ms,
                         uint64_t now_ns, uint32_t *backend_index, bool *is_old)
{
    uint64_t id, issued_ms;
    uint32_t index;
    if (!read_value(snapshot, value, &id, &issued_ms))
        return false;
    uint64_t age_ms = wall_ms > issued_ms ? wall_ms - issued_ms : 0; /* clocks of nodes differ */
    if (pool->sticky_ttl_ms > 0 && age_ms > pool->sticky_ttl_ms)
        return false;
    if (!find_backend(snapshot, pool, id, &index) ||
        !serves_session(state, vf_snap_backend(snapshot, index)->slot, now_ns))
        return false;
    *backend_index = index;
    *is_old = pool->sticky_ttl_ms > 0 && age_ms > pool->sticky_ttl_ms / 2;
    return true;
}

int vf_sticky_find(const struct vf_snapshot *snapshot, const struct vf_state *state,
                   uint32_t pool_index, struct vf_str cookie, uint64_t wall_ms, uint64_t now_ns,
                   uint32_t *backend_index, bool *is_old)
{
    const struct vf_snap_pool *pool = vf_snap_pool(snapshot, pool_index);
    struct vf_str wanted = vf_snap_str(snapshot, pool->sticky_cookie), name, value;
    while (vf_cookie_next(&cookie, &name, &value))
        if (vf_str_eq(name, wanted) &&
            accept_value(snapshot, state, pool, value, wall_ms, now_ns, backend_index, is_old))
            return 0;
    return VF_ENOCOOKIE;
}
