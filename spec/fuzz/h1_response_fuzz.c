/* The response codec, as h1_request_fuzz.c; the first byte chooses the request's method. */
#include <stdlib.h>

#include "codec_fuzz.h"
#include "http/method.h"

static uint32_t method;

static int read_head(struct vf_h1 *h1, struct vf_arena *arena, const char *data, size_t len,
                     struct vf_head *head)
{
    static const struct vf_h1_limits limits = {4096, 50, 1024};
    struct vf_fault fault = {0};
    int rc = vf_h1_response(h1, arena, &limits, method, vf_arena_strndup(arena, data, len), len,
                            head, &fault);
    if (rc == -1 && (fault.status != 502 || fault.rule == NULL))
        abort();
    if (rc == 0 && (head->status < 100 || head->status > 599))
        abort();
    if (rc == 0 && head->framing != VF_FRAMING_NONE &&
        (method == VF_METHOD_HEAD || head->status == 204 || head->status == 304))
        abort(); /* RFC 9112 section 6.3 */
    if (rc == 0)
        ask_llhttp(HTTP_RESPONSE, data, len, head);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    method = data[0] % 2 == 0 ? VF_METHOD_GET : VF_METHOD_HEAD;
    return fuzz_message((const char *)data + 1, size - 1, read_head);
}
