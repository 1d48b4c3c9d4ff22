/* base/siphash.h - a keyed 64-bit hash: without the key nobody can make texts that collide, so it
 * is for tables whose keys strangers choose.
 * Source: SipHash-2-4 of Aumasson and Bernstein, SipHash: a fast short-input PRF (2012). */
#ifndef VF_BASE_SIPHASH_H
#define VF_BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct vf_siphash_key {
    uint64_t k0, k1;
};

static inline uint64_t vf_siphash_rotate(uint64_t value, int bits)
{
    return value << bits | value >> (64 - bits);
}

static inline void vf_siphash_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = vf_siphash_rotate(v[1], 13) ^ v[0];
    v[0] = vf_siphash_rotate(v[0], 32);
    v[2] += v[3];
    v[3] = vf_siphash_rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = vf_siphash_rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = vf_siphash_rotate(v[1], 17) ^ v[2];
    v[2] = vf_siphash_rotate(v[2], 32);
}

static inline void vf_siphash_block(uint64_t v[4], uint64_t block)
{
    v[3] ^= block;
    vf_siphash_round(v);
    vf_siphash_round(v);
    v[0] ^= block;
}

/* Returns the hash of `len` bytes at `data` under `key`. Little-endian machines only, as all that
 * this program is built for. */
static inline uint64_t vf_siphash(const struct vf_siphash_key *key, const void *data, size_t len)
{
    uint64_t v[4] = {key->k0 ^ 0x736f6d6570736575ULL, key->k1 ^ 0x646f72616e646f6dULL,
                     key->k0 ^ 0x6c7967656e657261ULL, key->k1 ^ 0x7465646279746573ULL};
    const char *at = data;
    uint64_t block;
    for (size_t left = len; left >= sizeof(block); left -= sizeof(block), at += sizeof(block)) {
        memcpy(&block, at, sizeof(block));
        vf_siphash_block(v, block);
    }
    block = 0;
    memcpy(&block, at, len & 7);
    vf_siphash_block(v, block | (uint64_t)len << 56);
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        vf_siphash_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
