#include "snapshot/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <uv.h>

#include "base/shm.h"
#include "snapshot/check.h"

enum { MUCH_BYTES = 1 << 22 }; /* that take a millisecond to unmap when nobody else has them */

static char fault[96];

/* Makes the handle of checked memory. */
static int make(const void *memory, size_t size, uint32_t is_mapped, struct vf_snapshot **out)
{
    struct vf_snapshot *snapshot = malloc(sizeof(*snapshot));
    if (snapshot == NULL)
        return UV_ENOMEM;
    const struct vf_snap_header *header = memory;
    *snapshot = (struct vf_snapshot){header, size, header->version, 1, is_mapped};
    *out = snapshot;
    return 0;
}

static int adopt(const void *memory, size_t size, uint32_t is_mapped, struct vf_snapshot **out)
{
    fault[0] = '\0';
    int rc = vf_snapshot_check(memory, size, fault, sizeof(fault));
    return rc < 0 ? rc : make(memory, size, is_mapped, out);
}

static int open_with(int (*take)(const void *, size_t, uint32_t, struct vf_snapshot **), int fd,
                     struct vf_snapshot **out)
{
    size_t size;
    void *map = vf_shm_map(fd, 0, &size);
    if (map == NULL)
        return uv_translate_sys_error(errno);
    int rc = take(map, size, 1, out);
    if (rc < 0)
        vf_shm_unmap(map, size);
    return rc;
}

int vf_snapshot_open(int fd, struct vf_snapshot **out)
{
    return open_with(adopt, fd, out);
}

int vf_snapshot_open_checked(int fd, struct vf_snapshot **out)
{
    return open_with(make, fd, out);
}

int vf_snapshot_adopt(const void *memory, size_t size, struct vf_snapshot **out)
{
    return adopt(memory, size, 0, out);
}

const char *vf_snapshot_fault(void)
{
    return fault;
}

struct vf_snapshot *vf_snapshot_retain(struct vf_snapshot *snapshot)
{
    snapshot->refs++;
    return snapshot;
}

struct unmapping {
    uv_work_t work;
    void *map;
    size_t size;
};

static void on_unmap(uv_work_t *work)
{
    const struct unmapping *unmapping = work->data;
    vf_shm_unmap(unmapping->map, unmapping->size);
}

static void on_unmapped(uv_work_t *work, int status)
{
    (void)status; /* nothing is cancelled */
    free(work->data);
}

/* Returns false when that is not worth a thread, or there is none. */
static bool unmap_on_thread(uv_loop_t *loop, void *map, size_t size)
{
    struct unmapping *unmapping = size >= MUCH_BYTES ? malloc(sizeof(*unmapping)) : NULL;
    if (unmapping == NULL)
        return false;
    *unmapping = (struct unmapping){.work = {.data = unmapping}, .map = map, .size = size};
    if (uv_queue_work(loop, &unmapping->work, on_unmap, on_unmapped) == 0)
        return true;
    free(unmapping);
    return false;
}

void vf_snapshot_release_on(struct vf_snapshot **snapshot, uv_loop_t *loop)
{
    struct vf_snapshot *held = *snapshot;
    if (held != NULL && held->refs == 1 && held->is_mapped &&
        unmap_on_thread(loop, (void *)held->header, held->size))
        held->is_mapped = 0;
    vf_snapshot_release(snapshot);
}

void vf_snapshot_release(struct vf_snapshot **snapshot)
{
    struct vf_snapshot *held = *snapshot;
    *snapshot = NULL;
    if (held == NULL || --held->refs > 0)
        return;
    if (held->is_mapped)
        vf_shm_unmap((void *)held->header, held->size);
    free(held);
}

static bool has_prefix(const uint8_t *ip, const uint8_t *network, uint32_t bits)
{
    uint32_t bytes = bits / 8, rest = bits % 8;
    if (memcmp(ip, network, bytes) != 0)
        return false;
    return rest == 0 || ((ip[bytes] ^ network[bytes]) >> (8 - rest)) == 0;
}

static bool is_pool(const struct vf_snapshot *snapshot, uint32_t index, struct vf_str tenant,
                    struct vf_str name)
{
    const struct vf_snap_pool *pool = vf_snap_pool(snapshot, index);
    const struct vf_snap_tenant *owner = vf_snap_tenant(snapshot, pool->tenant);
    return vf_str_eq(vf_snap_str(snapshot, pool->name), name) &&
           vf_str_eq(vf_snap_str(snapshot, owner->name), tenant);
}

uint32_t vf_snapshot_find_pool(const struct vf_snapshot *snapshot, struct vf_str tenant,
                               struct vf_str name, uint32_t hint)
{
    uint32_t n = vf_snap_count(snapshot, VF_SNAP_POOLS), shared = VF_SNAP_NONE;
    if (hint < n && is_pool(snapshot, hint, tenant, name))
        return hint;
    for (uint32_t i = 0; i < n; i++) {
        if (is_pool(snapshot, i, tenant, name))
            return i;
        if ((vf_snap_pool(snapshot, i)->flags & VF_POOL_SHARED) != 0 &&
            vf_str_eq(vf_snap_str(snapshot, vf_snap_pool(snapshot, i)->name), name))
            shared = i;
    }
    return shared;
}

bool vf_snapshot_is_trusted(const struct vf_snapshot *snapshot, uint32_t family,
                            const uint8_t ip[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (family == VF_FAMILY_IPV6 && memcmp(ip, mapped, sizeof(mapped)) == 0) {
        family = VF_FAMILY_IPV4;
        ip += sizeof(mapped);
    }
    uint32_t count = vf_snap_count(snapshot, VF_SNAP_NETWORKS);
    for (uint32_t i = 0; i < count; i++) {
        const struct vf_snap_network *network = vf_snap_network(snapshot, i);
        if (network->address.family == family &&
            has_prefix(ip, network->address.ip, network->prefix_bits))
            return true;
    }
    return false;
}

void vf_policy_resolve(const struct vf_snapshot *snapshot, uint32_t base, uint32_t override,
                       struct vf_snap_policy *out)
{
    *out = *vf_snap_policy(snapshot, base);
    if (override == VF_SNAP_NONE)
        return;
    const struct vf_snap_policy *narrow = vf_snap_policy(snapshot, override);
    for (uint64_t left = narrow->set; left != 0; left &= left - 1) {
        int field = __builtin_ctzll(left);
        out->value[field] = narrow->value[field];
    }
    out->set |= narrow->set;
}
