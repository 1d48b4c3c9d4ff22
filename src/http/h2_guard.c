#include "http/h2_guard.h"

#include <nghttp2/nghttp2.h>
#include <string.h>

#include "base/gcra.h"

#define PER_SECOND(rate, burst)                                                                    \
    {                                                                                              \
        1000000000ULL / (rate), ((burst)-1) * (1000000000ULL / (rate))                             \
    }

static const struct vf_gcra idle_limit = PER_SECOND(100, 1000);
static const struct vf_gcra reset_limit = PER_SECOND(100, 500);
static const struct vf_gcra window_limit = PER_SECOND(10000, 20000);

static const char *judge_continuation(struct vf_h2_guard *guard)
{
    return ++guard->continuations > VF_H2_MAX_CONTINUATIONS ? "continuation_flood" : NULL;
}

static const char *judge_idle(struct vf_h2_guard *guard, const char *word, uint64_t now_ns)
{
    return vf_gcra_admit(&idle_limit, now_ns, &guard->idle_due_ns) ? NULL : word;
}

static const char *judge(struct vf_h2_guard *guard, uint32_t len, uint64_t now_ns)
{
    uint8_t type = guard->header[3], flags = guard->header[4];
    if (type != NGHTTP2_CONTINUATION)
        guard->continuations = 0;
    switch (type) {
    case NGHTTP2_DATA:
        return len > 0 || (flags & NGHTTP2_FLAG_END_STREAM) != 0
                   ? NULL
                   : judge_idle(guard, "empty_frame_flood", now_ns);
    case NGHTTP2_HEADERS:
    case NGHTTP2_GOAWAY:
        return NULL;
    case NGHTTP2_CONTINUATION:
        return judge_continuation(guard);
    case NGHTTP2_RST_STREAM:
        return vf_gcra_admit(&reset_limit, now_ns, &guard->reset_due_ns) ? NULL : "reset_flood";
    case NGHTTP2_WINDOW_UPDATE:
        return vf_gcra_admit(&window_limit, now_ns, &guard->window_due_ns) ? NULL
                                                                           : "window_update_flood";
    case NGHTTP2_SETTINGS:
        return judge_idle(guard, "settings_flood", now_ns);
    case NGHTTP2_PING:
        return judge_idle(guard, "ping_flood", now_ns);
    case NGHTTP2_PRIORITY:
        return judge_idle(guard, "priority_flood", now_ns);
    default:
        return judge_idle(guard, "unknown_frame_flood", now_ns);
    }
}

static size_t take(size_t len, size_t wanted)
{
    return len < wanted ? len : wanted;
}

const char *vf_h2_guard_scan(struct vf_h2_guard *guard, const char *data, size_t len,
                             uint64_t now_ns)
{
    const char *end = data + len;
    size_t n = take(len, (size_t)(VF_H2_PREFACE_BYTES - guard->preface_len));
    guard->preface_len += (uint8_t)n;
    data += n;
    while (data < end) {
        n = take((size_t)(end - data), guard->skip);
        guard->skip -= (uint32_t)n;
        data += n;
        n = take((size_t)(end - data), (size_t)(VF_H2_FRAME_HEADER_BYTES - guard->header_len));
        memcpy(guard->header + guard->header_len, data, n);
        guard->header_len += (uint8_t)n;
        data += n;
        if (guard->header_len < VF_H2_FRAME_HEADER_BYTES)
            return NULL;
        guard->header_len = 0;
        guard->skip =
            (uint32_t)guard->header[0] << 16 | (uint32_t)guard->header[1] << 8 | guard->header[2];
        const char *flood = judge(guard, guard->skip, now_ns);
        if (flood != NULL)
            return flood;
    }
    return NULL;
}
