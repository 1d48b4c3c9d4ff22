#include "checker/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/hash.h"
#include "net/proxy_protocol.h"
#include "snapshot/address.h"

static const char request_format[] = "GET %.*s HTTP/1.1\r\n"
                                     "Host: %.*s\r\n"
                                     "User-Agent: veloflux-health\r\n"
                                     "Accept: */*\r\n"
                                     "Connection: close\r\n\r\n";

static int print_request(char *out, size_t room, struct vf_str path, struct vf_str host)
{
    return snprintf(out, room, request_format, (int)path.len, path.data, (int)host.len, host.data);
}

/* We speak for ourselves here, not for a client: UNKNOWN (v1) or LOCAL (v2). */
static size_t write_preamble(uint32_t version, char out[VF_PROXY_HEADER_OUT])
{
    static const struct vf_proxy_header nobody;
    return version != 0 ? vf_proxy_header_write(version, &nobody, out) : 0;
}

static int make_question(const struct vf_snapshot *snapshot, const struct vf_snap_backend *backend,
                         const struct vf_snap_health *health, struct vf_probe_plan *plan)
{
    char preamble[VF_PROXY_HEADER_OUT];
    size_t preamble_len =
        write_preamble(vf_snap_pool(snapshot, backend->pool)->proxy_protocol, preamble);
    struct vf_str path = vf_snap_str(snapshot, health->path);
    struct vf_str host = vf_snap_str(snapshot, health->host);
    if (host.len == 0)
        host = vf_snap_str(snapshot, backend->address_text);
    bool asks = health->type == VF_HEALTH_HTTP;
    int len = asks ? print_request(NULL, 0, path, host) : 0;
    char *question = malloc(preamble_len + (size_t)len + 1);
    if (question == NULL)
        return UV_ENOMEM;
    memcpy(question, preamble, preamble_len);
    if (asks)
        print_request(question + preamble_len, (size_t)len + 1, path, host);
    plan->question = question;
    plan->question_len = preamble_len + (size_t)len;
    plan->preamble_len = preamble_len;
    return 0;
}

int vf_plan_make(const struct vf_snapshot *snapshot, uint32_t backend_index,
                 struct vf_probe_plan *plan)
{
    const struct vf_snap_backend *backend = vf_snap_backend(snapshot, backend_index);
    const struct vf_snap_health *health = vf_snap_health(snapshot, backend->health);
    plan->timeout_ms = health->timeout_ms;
    plan->n_ranges = health->type == VF_HEALTH_HTTP ? health->n_ranges : 0;
    for (uint32_t i = 0; i < plan->n_ranges; i++) {
        plan->ranges[i].low = health->ranges[i].low;
        plan->ranges[i].high = health->ranges[i].high;
    }
    return make_question(snapshot, backend, health, plan);
}

bool vf_plan_literal_address(const struct vf_snap_backend *backend, struct vf_probe_plan *plan)
{
    plan->address_len = vf_address_to_socket(&backend->address, &plan->address);
    return plan->address_len > 0;
}

static uint64_t hash_text(const struct vf_snapshot *snapshot, struct vf_snap_text text,
                          uint64_t seed)
{
    struct vf_str bytes = vf_snap_str(snapshot, text);
    return vf_hash(bytes.data, bytes.len, seed);
}

static uint64_t tls_id(const struct vf_snapshot *snapshot, const struct vf_snap_backend *backend)
{
    uint32_t tls = vf_snap_pool(snapshot, backend->pool)->tls;
    return tls == VF_SNAP_NONE ? 0 : vf_snap_upstream_tls(snapshot, tls)->id;
}

uint64_t vf_plan_hash(const struct vf_snapshot *snapshot, uint32_t backend_index)
{
    const struct vf_snap_backend *backend = vf_snap_backend(snapshot, backend_index);
    const struct vf_snap_health *health = vf_snap_health(snapshot, backend->health);
    uint64_t numbers[] = {health->type,
                          health->rise,
                          health->fall,
                          health->interval_ms,
                          health->timeout_ms,
                          health->n_ranges,
                          vf_snap_pool(snapshot, backend->pool)->proxy_protocol,
                          tls_id(snapshot, backend)};
    uint64_t hash = vf_hash(numbers, sizeof(numbers), 0);
    hash = vf_hash(health->ranges, health->n_ranges * sizeof(health->ranges[0]), hash);
    hash = hash_text(snapshot, health->path, hash);
    return hash_text(snapshot, health->host, hash);
}
