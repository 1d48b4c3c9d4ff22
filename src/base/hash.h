/* base/hash.h - one 64-bit hash of bytes, the same in every process and build.
 * FNV-1a with the finaliser of MurmurHash3 (public domain), so that the low bits are usable as an
 * index. Not for secrets. */
#ifndef VF_BASE_HASH_H
#define VF_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Spreads the bits of `value` over all 64 (fmix64). */
static inline uint64_t vf_hash_mix(uint64_t value)
{
    value ^= value >> 33;
    value *= 0xff51afd7ed558ccdULL;
    value ^= value >> 33;
    value *= 0xc4ceb9fe1a85ec53ULL;
    value ^= value >> 33;
    return value;
}

/* Returns the hash of `len` bytes at `data`, continued from `seed` (0 to begin). */
static inline uint64_t vf_hash(const void *data, size_t len, uint64_t seed)
{
    const unsigned char *byte = data;
    uint64_t hash = 0xcbf29ce484222325ULL ^ vf_hash_mix(seed);
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ byte[i]) * 0x100000001b3ULL;
    return vf_hash_mix(hash);
}

#endif
