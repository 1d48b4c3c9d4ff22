/* PROXY protocol headers: no input may read out of bounds; what is accepted has a length within the
 * input, is undecided for every shorter input, and survives being written and read again. */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/proxy_protocol.h"

/* Reads from memory of exactly `len` bytes, so that the sanitizer sees every byte too many. */
static int read_exactly(const uint8_t *data, size_t len, struct vf_proxy_header *out)
{
    char *copy = malloc(len > 0 ? len : 1);
    assert(copy != NULL);
    memcpy(copy, data, len);
    int used = vf_proxy_header_read(copy, len, out);
    free(copy);
    assert(used >= -1 && used <= (int)len && used <= VF_PROXY_HEADER_MAX);
    return used;
}

static void check_prefixes(const uint8_t *data, size_t len, int used)
{
    struct vf_proxy_header ignored;
    bool is_refused = false;
    for (size_t i = 0; i < len; i++) {
        int part = read_exactly(data, i, &ignored);
        is_refused = is_refused || part < 0;
        assert(part == (is_refused ? -1 : used > 0 && i >= (size_t)used ? used : 0));
    }
    assert(!is_refused || used < 0); /* more bytes never heal a broken header */
}

static void check_round_trip(const struct vf_proxy_header *header)
{
    for (unsigned version = 1; version <= 2; version++) {
        char out[VF_PROXY_HEADER_OUT];
        struct vf_proxy_header again;
        size_t len = vf_proxy_header_write(version, header, out);
        assert(len > 0 && len <= sizeof(out));
        assert(vf_proxy_header_read(out, len, &again) == (int)len);
        assert(memcmp(&again, header, sizeof(again)) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct vf_proxy_header header;
    if (len > 2 * VF_PROXY_HEADER_MAX)
        return 0;
    int used = read_exactly(data, len, &header);
    check_prefixes(data, len, used);
    if (used > 0)
        check_round_trip(&header);
    assert(used != 0 || len < VF_PROXY_HEADER_MAX);
    return 0;
}
