#include "snapshot/totals.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "snapshot/snapshot.h"
#include "snapshot/totals_core.h"

uint32_t vf_totals_size(uint32_t which)
{
    static const uint32_t sizes[] = {
        sizeof(struct vf_totals_counts),       sizeof(struct vf_totals_node),
        sizeof(struct vf_totals_process),      sizeof(struct vf_totals_listener),
        sizeof(struct vf_totals_pool),         sizeof(struct vf_totals_status),
        sizeof(struct vf_totals_backend),      sizeof(struct vf_totals_route),
        sizeof(struct vf_totals_tenant),       sizeof(struct vf_totals_error),
        sizeof(struct vf_totals_plugin_phase), sizeof(struct vf_totals_plugin),
        sizeof(struct vf_totals_duration),
    };
    return which < sizeof(sizes) / sizeof(*sizes) ? sizes[which] : 0;
}

void vf_totals_numbers(const struct vf_snapshot *snapshot, struct vf_totals_numbers *out)
{
    out->listeners = vf_snap_count(snapshot, VF_SNAP_LISTENERS);
    out->pools = vf_snap_count(snapshot, VF_SNAP_POOLS);
    out->backends = vf_snap_count(snapshot, VF_SNAP_BACKENDS);
    out->routes = vf_snap_count(snapshot, VF_SNAP_ROUTES);
    out->tenants = vf_snap_count(snapshot, VF_SNAP_TENANTS);
    out->plugins = vf_snap_count(snapshot, VF_SNAP_PLUGINS);
}

/* Records of the three kinds begin with their id. */
static uint64_t id_at(const char *records, size_t record_bytes, uint32_t index)
{
    uint64_t id;
    memcpy(&id, records + index * record_bytes, sizeof(id));
    return id;
}

_Static_assert(offsetof(struct vf_snap_pool, id) == 0, "the id comes first");
_Static_assert(offsetof(struct vf_snap_backend, id) == 0, "the id comes first");
_Static_assert(offsetof(struct vf_snap_route, id) == 0, "the id comes first");

uint32_t vf_totals_find(const struct vf_snapshot *snapshot, uint32_t kind, uint64_t id,
                        uint32_t hint)
{
    static const enum vf_snap_section sections[] = {VF_SNAP_POOLS, VF_SNAP_BACKENDS,
                                                    VF_SNAP_ROUTES};
    assert(kind <= VF_TOTALS_ROUTES);
    const char *records = vf_snap_section(snapshot, sections[kind]);
    size_t bytes = vf_snap_record_bytes(sections[kind]);
    uint32_t count = vf_snap_count(snapshot, sections[kind]);
    if (hint < count && id_at(records, bytes, hint) == id)
        return hint;
    for (uint32_t i = 0; i < count; i++)
        if (id_at(records, bytes, i) == id)
            return i;
    return UINT32_MAX;
}

/* --- Listeners --- */

void vf_totals_listener(const struct vf_state *state, const struct vf_snapshot *snapshot,
                        uint32_t index, struct vf_totals_listener *out)
{
    const struct vf_snap_listener *listener = vf_snap_listener(snapshot, index);
    uint32_t n = vf_totals_used_blocks(state);
    memset(out, 0, sizeof(*out));
    out->name = vf_snap_str(snapshot, listener->name);
    out->address = vf_snap_str(snapshot, listener->address_text);
    out->is_admin = listener->kind == VF_LISTENER_ADMIN;
    out->is_tls = listener->tls != VF_SNAP_NONE;
    for (uint32_t i = 0; i < n; i++) {
        const struct vf_state_listener *counts = &state->blocks[i].listeners[listener->slot];
        vf_totals_add_words(&out->accepted, &counts->accepted, 15);
        if (vf_totals_is_leased(&state->blocks[i]))
            out->connections += vf_count_get(&counts->connections);
    }
}

/* --- Routes and tenants --- */

static void add_route(const struct vf_state *state, uint32_t n_blocks, uint32_t slot,
                      struct vf_totals_route *out)
{
    for (uint32_t i = 0; i < n_blocks; i++)
        vf_totals_add_words(&out->requests, &state->blocks[i].routes[slot].requests,
                            VF_TOTALS_WORDS(struct vf_state_route));
}

void vf_totals_route(const struct vf_state *state, const struct vf_snapshot *snapshot,
                     uint32_t index, struct vf_totals_route *out)
{
    const struct vf_snap_route *route = vf_snap_route(snapshot, index);
    memset(out, 0, sizeof(*out));
    out->name = vf_snap_str(snapshot, route->name);
    out->tenant = vf_snap_str(snapshot, vf_snap_tenant(snapshot, route->tenant)->name);
    add_route(state, vf_totals_used_blocks(state), route->slot, out);
}

void vf_totals_routes_from(const struct vf_state *state, const struct vf_snapshot *snapshot,
                           uint32_t first, struct vf_totals_route *out)
{
    uint32_t n = vf_snap_count(snapshot, VF_SNAP_ROUTES), n_blocks = vf_totals_used_blocks(state);
    memset(out, 0, sizeof(*out));
    for (uint32_t i = first; i < n; i++)
        add_route(state, n_blocks, vf_snap_route(snapshot, i)->slot, out);
}

/* No usage file (yet): zeros. */
static void add_tenant(const struct vf_usage *usage, uint64_t id, struct vf_totals_tenant *out)
{
    uint64_t counts[VF_USAGE_KINDS] = {0};
    if (usage != NULL)
        vf_usage_add(usage, id, counts);
    out->requests += counts[VF_USAGE_REQUESTS];
    out->bytes_in += counts[VF_USAGE_BYTES_IN];
    out->bytes_out += counts[VF_USAGE_BYTES_OUT];
}

void vf_totals_tenant(const struct vf_usage *usage, const struct vf_snapshot *snapshot,
                      uint32_t index, struct vf_totals_tenant *out)
{
    const struct vf_snap_tenant *tenant = vf_snap_tenant(snapshot, index);
    memset(out, 0, sizeof(*out));
    out->name = vf_snap_str(snapshot, tenant->name);
    add_tenant(usage, tenant->id, out);
}

void vf_totals_tenants_from(const struct vf_usage *usage, const struct vf_snapshot *snapshot,
                            uint32_t first, struct vf_totals_tenant *out)
{
    uint32_t n = vf_snap_count(snapshot, VF_SNAP_TENANTS);
    memset(out, 0, sizeof(*out));
    for (uint32_t i = first; i < n; i++)
        add_tenant(usage, vf_snap_tenant(snapshot, i)->id, out);
}

/* --- Plugins --- */

void vf_totals_plugin(const struct vf_state *state, const struct vf_snapshot *snapshot,
                      uint32_t index, struct vf_totals_plugin *out)
{
    const struct vf_snap_plugin *plugin = vf_snap_plugin(snapshot, index);
    uint32_t n_blocks = vf_totals_used_blocks(state);
    _Static_assert((int)VF_STATE_PHASES == (int)VF_PHASES, "the same phases");
    _Static_assert(sizeof(struct vf_state_plugin_phase) == sizeof(struct vf_totals_plugin_phase),
                   "same counters");
    memset(out, 0, sizeof(*out));
    out->name = vf_snap_str(snapshot, plugin->name);
    out->has_phases = plugin->phases;
    for (uint32_t i = 0; i < n_blocks; i++) {
        const struct vf_state_plugin *counts = &state->blocks[i].plugins[plugin->slot];
        for (int phase = 0; phase < VF_STATE_PHASES; phase++)
            vf_totals_add_words(&out->phases[phase].calls, &counts->phases[phase].calls,
                                VF_TOTALS_WORDS(struct vf_state_plugin_phase));
        out->trips += vf_count_get(&counts->trips);
    }
}
