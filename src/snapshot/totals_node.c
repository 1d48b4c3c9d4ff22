/* The node and its processes. */
#include <string.h>

#include "base/clock.h"
#include "snapshot/totals.h"
#include "snapshot/totals_core.h"

_Static_assert(sizeof(struct vf_state_totals) == sizeof(struct vf_totals_counts), "same counters");

static void add_process(struct vf_totals_node *out, const struct vf_state_block *block)
{
    const struct vf_state_process *process = &block->process;
    if (block->kind != VF_PROCESS_WORKER)
        return;
    out->connections += vf_count_get(&process->connections);
    out->exchanges += vf_count_get(&process->exchanges);
    out->tunnels += vf_count_get(&process->tunnels);
    out->upstream_connections += vf_count_get(&process->upstream_connections);
    out->buffered_bytes += vf_count_get(&process->buffered_bytes);
    if (atomic_load(&process->draining) != 0)
        return;
    out->n_workers++;
    out->n_ready += atomic_load(&process->running_version) != 0;
}

/* The three fields are written together; a torn reading is tried again. */
static void read_config(const struct vf_state *state, struct vf_totals_node *out)
{
    for (int i = 0; i < VF_TOTALS_READ_TRIES; i++) {
        uint32_t before = atomic_load_explicit(&state->config_seq, memory_order_acquire);
        out->config_ok = *(const volatile uint32_t *)&state->config_ok;
        out->config_wall_ms = *(const volatile uint64_t *)&state->config_wall_ms;
        memcpy(out->config_message, state->config_message, sizeof(out->config_message));
        if (vf_totals_was_quiet(&state->config_seq, before))
            break;
    }
    out->config_message[sizeof(out->config_message) - 1] = '\0';
}

void vf_totals_node(const struct vf_state *state, struct vf_totals_node *out)
{
    uint64_t now_ns = vf_clock_ns();
    memset(out, 0, sizeof(*out));
    out->n_blocks = vf_totals_used_blocks(state);
    for (uint32_t i = 0; i < out->n_blocks; i++) {
        const struct vf_state_block *block = &state->blocks[i];
        if (block->kind != VF_PROCESS_CONTROL) /* whose connections are not traffic */
            vf_totals_add_words((uint64_t *)&out->counts, (const vf_count *)&block->totals,
                                VF_TOTALS_WORDS(out->counts));
        if (vf_totals_is_leased(block))
            add_process(out, block);
    }
    out->version = atomic_load(&state->published_version);
    out->started_wall_ms = atomic_load(&state->started_wall_ms);
    out->uptime_ms = vf_totals_ago_ms(now_ns, atomic_load(&state->started_ns));
    out->wall_ms = vf_clock_wall_ms();
    out->generation = atomic_load(&state->generation);
    out->is_stopping = atomic_load(&state->stopping);
    for (int i = 0; i < 3; i++)
        out->restarts[i] = atomic_load(&state->restarts[i]);
    read_config(state, out);
}

bool vf_totals_process(const struct vf_state *state, uint32_t index, struct vf_totals_process *out)
{
    if (index >= VF_STATE_BLOCKS || !vf_totals_is_leased(&state->blocks[index]))
        return false;
    const struct vf_state_block *block = &state->blocks[index];
    const struct vf_state_process *process = &block->process;
    memset(out, 0, sizeof(*out));
    vf_totals_add_words((uint64_t *)&out->counts, (const vf_count *)&block->totals,
                        VF_TOTALS_WORDS(out->counts));
    out->pid = block->pid;
    out->kind = block->kind;
    out->worker = block->worker;
    out->generation = block->generation;
    out->heartbeat_age_ms = vf_totals_ago_ms(vf_clock_ns(), atomic_load(&process->heartbeat_ns));
    out->running_version = atomic_load(&process->running_version);
    out->n_snapshots = atomic_load(&process->n_snapshots);
    out->is_draining = atomic_load(&process->draining);
    out->connections = vf_count_get(&process->connections);
    out->exchanges = vf_count_get(&process->exchanges);
    out->tunnels = vf_count_get(&process->tunnels);
    out->upstream_connections = vf_count_get(&process->upstream_connections);
    out->buffered_bytes = vf_count_get(&process->buffered_bytes);
    out->loop_lag_us = vf_count_get(&process->loop_lag_us);
    return true;
}
