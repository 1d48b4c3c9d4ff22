/* The request codec: any bytes are a head with content, a fault, or too few; and content read at
 * once and content read byte by byte are the same; and llhttp reads no head otherwise. */
#include <stdlib.h>

#include "codec_fuzz.h"

static int read_head(struct vf_h1 *h1, struct vf_arena *arena, const char *data, size_t len,
                     struct vf_head *head)
{
    static const struct vf_h1_limits limits = {4096, 50, 1024};
    struct vf_fault fault = {0};
    int rc =
        vf_h1_request(h1, arena, &limits, vf_arena_strndup(arena, data, len), len, head, &fault);
    if (rc == -1 && (fault.status < 400 || fault.rule == NULL || fault.section == NULL))
        abort(); /* a refusal says what was broken */
    if (rc == 0 && !vf_is_token(head->method_name))
        abort();
    if (rc == 0 && head->framing == VF_FRAMING_CLOSE)
        abort(); /* a request never ends with its connection */
    if (rc == 0)
        ask_llhttp(HTTP_REQUEST, data, len, head);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vf_h1_may_be_request((const char *)data, size);
    vf_h1_bare_cr((const char *)data, size);
    return fuzz_message((const char *)data, size, read_head);
}
