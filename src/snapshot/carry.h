/* snapshot/carry.h - carries records of a finished snapshot over to the next: what an entity that
 * did not change was compiled to, with all that belongs to it, in the time that copying takes.
 * Texts keep their places (snapshot/texts.h); what refers to records elsewhere gets their indexes
 * here. For the compiler in Lua, which knows what did not change and in which order all stand. */
#ifndef VF_SNAPSHOT_CARRY_H
#define VF_SNAPSHOT_CARRY_H

#include <stdint.h>

struct vf_snapb;
struct vf_carry;

/* Begins: from `from`, a finished builder, to `to`, made by vf_snapb_new_after(from) and not
 * finished yet. Both outlive the object, which is the caller's, and `from` stays until `to` is
 * finished. Returns NULL when out of memory. */
struct vf_carry *vf_carry_new(const struct vf_snapb *from, struct vf_snapb *to);
void vf_carry_free(struct vf_carry *carry);

/* Returns an array: by the index of a record of `from`, the index of the same in `to`, VF_SNAP_NONE
 * at first. The caller fills in those of VF_SNAP_TENANTS, VF_SNAP_POOLS, VF_SNAP_CHAINS and
 * VF_SNAP_CLIENT_CERTS before what refers to them is carried over; other sections fill themselves.
 * NULL for a section of the builder's own. */
uint32_t *vf_carry_map(struct vf_carry *carry, uint32_t section);

/* Returns the index in `to` of the policy `index` of `from`, carried over once; VF_SNAP_NONE when
 * there is none, or no memory. */
uint32_t vf_carry_policy(struct vf_carry *carry, uint32_t index);

/* Carries `count` pools from index `first` on over, with their backends, to places from `at` on
 * that were added before. Slots are what they were; `tls` is VF_SNAP_NONE, the caller's to fill in.
 * Returns 0; UV_ENOMEM; UV_EINVAL when something that they refer to is not in a map, or the places
 * are not there. */
int vf_carry_pools(struct vf_carry *carry, uint32_t first, uint32_t count, uint32_t at);

/* Notes what routes refer to that are to be carried over to `at`: sets such entries of the maps of
 * VF_SNAP_CHAINS and VF_SNAP_CLIENT_CERTS to the place of the first route that does, for the caller
 * to replace it. */
void vf_carry_note(struct vf_carry *carry, uint32_t first, uint32_t count, uint32_t at);

/* As vf_carry_pools for routes, with hosts and conditions. They keep their order of preference. The
 * places of all routes are added before the first call. */
int vf_carry_routes(struct vf_carry *carry, uint32_t first, uint32_t count, uint32_t at);

#endif
