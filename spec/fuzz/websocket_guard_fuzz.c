/* The guard before libwebsockets: any bytes come out in part, in their order, with at most one
 * close frame behind; whole and byte by byte come to the same; and what has passed is good on a
 * second pass. */
#include <stdlib.h>
#include <string.h>

#include "control/websocket_guard.h"

enum { MAX_MESSAGE = 300 };

/* Feeds `size` bytes in pieces. Returns how many came out. */
static size_t feed(struct vf_websocket_guard *guard, const char *data, size_t size, size_t piece,
                   char *out)
{
    size_t n_out = 0;
    vf_websocket_guard_init(guard, MAX_MESSAGE);
    for (size_t at = 0; at < size; at += piece) {
        size_t len = size - at < piece ? size - at : piece;
        n_out += vf_websocket_guard_feed(guard, data + at, len, out + n_out);
    }
    return n_out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vf_websocket_guard guard, again;
    char *whole = malloc(size + VF_WS_GUARD_MORE), *single = malloc(size + VF_WS_GUARD_MORE);
    size_t n = feed(&guard, (const char *)data, size, size > 0 ? size : 1, whole);
    if (n != feed(&again, (const char *)data, size, 1, single) || memcmp(whole, single, n) != 0 ||
        guard.code != again.code)
        abort();
    if (n > size + VF_WS_HELD_BYTES)
        abort();
    if (guard.code == 0 && memcmp(whole, data, n) != 0)
        abort(); /* what is good passes unchanged */
    if (guard.code == 0 && n + VF_WS_HELD_BYTES < size)
        abort(); /* and all of it, but for a header */
    size_t passed = feed(&again, whole, n, 1, single);
    if (passed != n || memcmp(whole, single, n) != 0 || (guard.code != 0) != (again.code != 0))
        abort(); /* libwebsockets gets nothing that the guard would refuse */
    free(whole);
    free(single);
    return 0;
}
