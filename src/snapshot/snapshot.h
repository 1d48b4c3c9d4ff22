/* snapshot/snapshot.h - reading a snapshot: mapped, checked once, then trusted.
 * `open` proves that every extent, text, index and enum of the snapshot is what layout.h says, so
 * the accessors below need no checks: an index taken from a snapshot fits that snapshot. A handle
 * is counted; the last release unmaps. A handle belongs to one thread. */
#ifndef VF_SNAPSHOT_SNAPSHOT_H
#define VF_SNAPSHOT_SNAPSHOT_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/str.h"
#include "snapshot/layout.h"

#define VF_SNAP_MAGIC 0x32504e5358464c56ULL /* "VLFXSNP2" in little-endian memory */

struct vf_snapshot {
    const struct vf_snap_header *header; /* the mapping */
    size_t size;                         /* bytes of it */
    uint64_t version;                    /* header->version */
    uint32_t refs;
    uint32_t is_mapped; /* 1: unmap at the end; 0: memory of vf_snapshot_adopt's caller */
};

/* Maps and validates the sealed memfd `fd`, which stays the caller's. Stores a handle with one
 * reference in *out. Returns 0; UV_EINVAL for a snapshot that is broken or of another layout (see
 * vf_snapshot_fault); UV_EPERM when the memfd is not sealed; UV_ENOMEM or another UV_E* code. */
int vf_snapshot_open(int fd, struct vf_snapshot **out);

/* The same for one that this process has validated before, in the same sealed memfd. */
int vf_snapshot_open_checked(int fd, struct vf_snapshot **out);

/* As vf_snapshot_open for `size` bytes at `memory` (8-aligned), which stay the caller's and outlive
 * the handle. For the command line and specs. */
int vf_snapshot_adopt(const void *memory, size_t size, struct vf_snapshot **out);

/* Returns why the last open or adopt of this process refused a snapshot ("route 3: pool"), or "".
 * Static memory, overwritten by the next. */
const char *vf_snapshot_fault(void);

/* Takes another reference. Returns `snapshot`. */
struct vf_snapshot *vf_snapshot_retain(struct vf_snapshot *snapshot);

/* Gives a reference back and clears the caller's pointer; NULL is left alone. */
void vf_snapshot_release(struct vf_snapshot **snapshot);
/* The same; the last one to let go of much memory gives it back on a thread of `loop`. */
void vf_snapshot_release_on(struct vf_snapshot **snapshot, uv_loop_t *loop);

/* Returns a hash of the sizes of all records and of some offsets, with a revision for what neither
 * shows (layout.c): equal in builds that read each other's snapshots. */
uint64_t vf_snapshot_layout_hash(void);

/* Returns sizeof the record of `section`. */
uint32_t vf_snap_record_bytes(enum vf_snap_section section);

/* Returns true when the address (enum vf_snap_family, network order, IPv4 in the first four bytes)
 * is in one of the trusted networks. An IPv4-mapped IPv6 address counts as IPv4. */
bool vf_snapshot_is_trusted(const struct vf_snapshot *snapshot, uint32_t family,
                            const uint8_t ip[16]);

/* Finds the pool that `name` means for `tenant`: its own, or a shared one of the default tenant.
 * Looks at index `hint` first. Returns its index, or VF_SNAP_NONE. */
uint32_t vf_snapshot_find_pool(const struct vf_snapshot *snapshot, struct vf_str tenant,
                               struct vf_str name, uint32_t hint);

/* Fills *out with the complete policy `base` (a listener's), overridden by the fields that are set
 * in `override` (a route's `policy`, may be VF_SNAP_NONE). */
void vf_policy_resolve(const struct vf_snapshot *snapshot, uint32_t base, uint32_t override,
                       struct vf_snap_policy *out);

static inline uint32_t vf_snap_count(const struct vf_snapshot *snapshot,
                                     enum vf_snap_section section)
{
    return snapshot->header->sections[section].count;
}

static inline const void *vf_snap_section(const struct vf_snapshot *snapshot,
                                          enum vf_snap_section section)
{
    return (const char *)snapshot->header + snapshot->header->sections[section].offset;
}

/* Returns the bytes of `text`, valid while the snapshot is held. */
static inline struct vf_str vf_snap_str(const struct vf_snapshot *snapshot,
                                        struct vf_snap_text text)
{
    return (struct vf_str){(const char *)snapshot->header + text.offset, text.len};
}

static inline const struct vf_snap_settings *vf_snap_settings(const struct vf_snapshot *snapshot)
{
    return &snapshot->header->settings;
}

/* The records, by index into their section. */
static inline const struct vf_snap_listener *vf_snap_listener(const struct vf_snapshot *snapshot,
                                                              uint32_t index)
{
    assert(index < vf_snap_count(snapshot, VF_SNAP_LISTENERS));
    return (const struct vf_snap_listener *)vf_snap_section(snapshot, VF_SNAP_LISTENERS) + index;
}

static inline const struct vf_snap_pool *vf_snap_pool(const struct vf_snapshot *snapshot,
                                                      uint32_t index)
{
    assert(index < vf_snap_count(snapshot, VF_SNAP_POOLS));
    return (const struct vf_snap_pool *)vf_snap_section(snapshot, VF_SNAP_POOLS) + index;
}

static inline const struct vf_snap_backend *vf_snap_backend(const struct vf_snapshot *snapshot,
                                                            uint32_t index)
{
    assert(index < vf_snap_count(snapshot, VF_SNAP_BACKENDS));
    return (const struct vf_snap_backend *)vf_snap_section(snapshot, VF_SNAP_BACKENDS) + index;
}

static inline const struct vf_snap_route *vf_snap_route(const struct vf_snapshot *snapshot,
                                                        uint32_t index)
{
    assert(index < vf_snap_count(snapshot, VF_SNAP_ROUTES));
    return (const struct vf_snap_route *)vf_snap_section(snapshot, VF_SNAP_ROUTES) + index;
}

static inline const struct vf_snap_binding *vf_snap_binding(const struct vf_snapshot *snapshot,
                                                            uint32_t index)
{
    assert(index < vf_snap_count(snapshot, VF_SNAP_BINDINGS));
    return (const struct vf_snap_binding *)vf_snap_section(snapshot, VF_SNAP_BINDINGS) + index;
}

static inline const struct vf_snap_condition *vf_snap_condition(const struct vf_snapshot *snapshot,
                                                                uint32_t index)
{
    assert(index < vf_snap_count(snapshot, VF_SNAP_CONDITIONS));
    return (const struct vf_snap_condition *)vf_snap_section(snapshot, VF_SNAP_CONDITIONS) + index;
}

static inline const struct vf_snap_policy *vf_snap_policy(const struct vf_snapshot *snapshot,
                                                          uint32_t index)
{
    assert(index < vf_snap_count(snapshot, VF_SNAP_POLICIES));
    return (const struct vf_snap_policy *)vf_snap_section(snapshot, VF_SNAP_POLICIES) + index;
}

static inline const struct vf_snap_field_op *vf_snap_op(const struct vf_snapshot *snapshot,
                                                        uint32_t index)
{
    assert(index < vf_snap_count(snapshot, VF_SNAP_FIELD_OPS));
    return (const struct vf_snap_field_op *)vf_snap_section(snapshot, VF_SNAP_FIELD_OPS) + index;
}

static inline const struct vf_snap_health *vf_snap_health(const struct vf_snapshot *snapshot,
                                                          uint32_t index)
{
    assert(index < vf_snap_count(snapshot, VF_SNAP_HEALTH));
    return (const struct vf_snap_health *)vf_snap_section(snapshot, VF_SNAP_HEALTH) + index;
}

static inline const struct vf_snap_network *vf_snap_network(const struct vf_snapshot *snapshot,
                                                            uint32_t index)
{
    assert(index < vf_snap_count(snapshot, VF_SNAP_NETWORKS));
    return (const struct vf_snap_network *)vf_snap_section(snapshot, VF_SNAP_NETWORKS) + index;
}

static inline const struct vf_snap_tenant *vf_snap_tenant(const struct vf_snapshot *snapshot,
                                                          uint32_t index)
{
    assert(index < vf_snap_count(snapshot, VF_SNAP_TENANTS));
    return (const struct vf_snap_tenant *)vf_snap_section(snapshot, VF_SNAP_TENANTS) + index;
}

static inline const struct vf_snap_plugin *vf_snap_plugin(const struct vf_snapshot *snapshot,
                                                          uint32_t index)
{
    assert(index < vf_snap_count(snapshot, VF_SNAP_PLUGINS));
    return (const struct vf_snap_plugin *)vf_snap_section(snapshot, VF_SNAP_PLUGINS) + index;
}

static inline const struct vf_snap_plugin_file *vf_snap_plugin_file(
    const struct vf_snapshot *snapshot, uint32_t index)
{
    assert(index < vf_snap_count(snapshot, VF_SNAP_PLUGIN_FILES));
    return (const struct vf_snap_plugin_file *)vf_snap_section(snapshot, VF_SNAP_PLUGIN_FILES) +
           index;
}

static inline const struct vf_snap_instance *vf_snap_instance(const struct vf_snapshot *snapshot,
                                                              uint32_t index)
{
    assert(index < vf_snap_count(snapshot, VF_SNAP_INSTANCES));
    return (const struct vf_snap_instance *)vf_snap_section(snapshot, VF_SNAP_INSTANCES) + index;
}

static inline const struct vf_snap_chain *vf_snap_chain(const struct vf_snapshot *snapshot,
                                                        uint32_t index)
{
    assert(index < vf_snap_count(snapshot, VF_SNAP_CHAINS));
    return (const struct vf_snap_chain *)vf_snap_section(snapshot, VF_SNAP_CHAINS) + index;
}

/* Returns the index of the instance that is the `nth` member of a chain, from 0. */
static inline uint32_t vf_snap_member(const struct vf_snapshot *snapshot,
                                      const struct vf_snap_chain *chain, uint32_t nth)
{
    assert(nth < chain->members.count);
    const uint32_t *members = (const uint32_t *)vf_snap_section(snapshot, VF_SNAP_MEMBERS);
    return members[chain->members.first + nth];
}

static inline const struct vf_snap_destination *vf_snap_destination(
    const struct vf_snapshot *snapshot, uint32_t index)
{
    assert(index < vf_snap_count(snapshot, VF_SNAP_DESTINATIONS));
    return (const struct vf_snap_destination *)vf_snap_section(snapshot, VF_SNAP_DESTINATIONS) +
           index;
}

static inline const struct vf_snap_tls *vf_snap_tls(const struct vf_snapshot *snapshot,
                                                    uint32_t index)
{
    assert(index < vf_snap_count(snapshot, VF_SNAP_TLS));
    return (const struct vf_snap_tls *)vf_snap_section(snapshot, VF_SNAP_TLS) + index;
}

static inline const struct vf_snap_identity *vf_snap_identity(const struct vf_snapshot *snapshot,
                                                              uint32_t index)
{
    assert(index < vf_snap_count(snapshot, VF_SNAP_IDENTITIES));
    return (const struct vf_snap_identity *)vf_snap_section(snapshot, VF_SNAP_IDENTITIES) + index;
}

static inline const struct vf_snap_upstream_tls *vf_snap_upstream_tls(
    const struct vf_snapshot *snapshot, uint32_t index)
{
    assert(index < vf_snap_count(snapshot, VF_SNAP_UPSTREAM_TLS));
    return (const struct vf_snap_upstream_tls *)vf_snap_section(snapshot, VF_SNAP_UPSTREAM_TLS) +
           index;
}

static inline const struct vf_snap_trust *vf_snap_trust(const struct vf_snapshot *snapshot,
                                                        uint32_t index)
{
    assert(index < vf_snap_count(snapshot, VF_SNAP_TRUSTS));
    return (const struct vf_snap_trust *)vf_snap_section(snapshot, VF_SNAP_TRUSTS) + index;
}

static inline const struct vf_snap_client_cert *vf_snap_client_cert(
    const struct vf_snapshot *snapshot, uint32_t index)
{
    assert(index < vf_snap_count(snapshot, VF_SNAP_CLIENT_CERTS));
    return (const struct vf_snap_client_cert *)vf_snap_section(snapshot, VF_SNAP_CLIENT_CERTS) +
           index;
}

/* Returns the value of a resolved policy's field (UINT64_MAX: off). */
static inline uint64_t vf_policy_get(const struct vf_snap_policy *policy,
                                     enum vf_snap_policy_field field)
{
    return policy->value[field];
}

#endif
