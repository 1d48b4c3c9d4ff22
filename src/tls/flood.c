#include "tls/flood.h"

bool vf_tls_flood_window(struct vf_tls_flood *flood, uint64_t now_ns)
{
    const uint64_t second_ns = 1000000000;
    uint64_t rate = flood->ran_dry ? VF_TLS_TINY_RATE : VF_TLS_TINY_RATE_AHEAD;
    uint64_t shortest_ns = flood->records * second_ns / rate;
    bool is_tiny = flood->bytes < (uint64_t)flood->records * VF_TLS_TINY_BYTES;
    if (is_tiny && now_ns - flood->since_ns < shortest_ns) {
        flood->kind = VF_TLS_FLOOD_TINY;
        return false;
    }
    flood->records = 0;
    flood->bytes = 0;
    flood->ran_dry = false;
    flood->since_ns = now_ns;
    return true;
}

const char *vf_tls_flood_word(uint32_t kind)
{
    static const char *const words[] = {"", "handshake", "no_content", "tiny"};
    return kind < sizeof(words) / sizeof(words[0]) ? words[kind] : "";
}
