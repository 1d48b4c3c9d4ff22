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

enum {
    MOST_PINGS = 1000, /* earned and not used yet */
    MOST_WINDOWS = 20000,
    BYTES_PER_WINDOW = 1024, /* of content, for each WINDOW_UPDATE */
    TINY_BYTES = 128         /* whoever asks for less a frame earns none: CVE-2019-9511 */
};

/* --- Floods --- */

static const char *judge_continuation(struct vf_h2_guard *guard)
{
    return ++guard->continuations > VF_H2_MAX_CONTINUATIONS ? "continuation_flood" : NULL;
}

static const char *judge_idle(struct vf_h2_guard *guard, const char *word, uint64_t now_ns)
{
    return vf_gcra_admit(&idle_limit, now_ns, &guard->idle_due_ns) ? NULL : word;
}

static bool is_earned(uint32_t *credit)
{
    if (*credit == 0)
        return false;
    (*credit)--;
    return true;
}

static const char *judge_reset(struct vf_h2_guard *guard, uint64_t now_ns)
{
    return guard->is_backend || vf_gcra_admit(&reset_limit, now_ns, &guard->reset_due_ns)
               ? NULL
               : "reset_flood";
}

static const char *judge_window(struct vf_h2_guard *guard, uint64_t now_ns)
{
    return is_earned(&guard->windows_earned) ||
                   vf_gcra_admit(&window_limit, now_ns, &guard->window_due_ns)
               ? NULL
               : "window_update_flood";
}

static const char *judge_flood(struct vf_h2_guard *guard, uint64_t now_ns)
{
    uint8_t type = guard->header[3], flags = guard->header[4];
    if (type != NGHTTP2_CONTINUATION)
        guard->continuations = 0;
    switch (type) {
    case NGHTTP2_DATA:
        return guard->skip > 0 || (flags & NGHTTP2_FLAG_END_STREAM) != 0
                   ? NULL
                   : judge_idle(guard, "empty_frame_flood", now_ns);
    case NGHTTP2_HEADERS:
    case NGHTTP2_GOAWAY:
        return NULL;
    case NGHTTP2_CONTINUATION:
        return judge_continuation(guard);
    case NGHTTP2_RST_STREAM:
        return judge_reset(guard, now_ns);
    case NGHTTP2_WINDOW_UPDATE:
        return judge_window(guard, now_ns);
    case NGHTTP2_SETTINGS:
        return judge_idle(guard, "settings_flood", now_ns);
    case NGHTTP2_PING:
        return is_earned(&guard->pings_earned) ? NULL : judge_idle(guard, "ping_flood", now_ns);
    case NGHTTP2_PRIORITY:
        return judge_idle(guard, "priority_flood", now_ns);
    default:
        return judge_idle(guard, "unknown_frame_flood", now_ns);
    }
}

/* --- Streams --- */

uint8_t vf_h2_guard_type(const struct vf_h2_guard *guard)
{
    return guard->header[3];
}

uint32_t vf_h2_guard_stream(const struct vf_h2_guard *guard)
{
    const uint8_t *id = guard->header + 5;
    return (uint32_t)(id[0] & 0x7f) << 24 | (uint32_t)id[1] << 16 | (uint32_t)id[2] << 8 | id[3];
}

/* A frame that may not come any more. */
static const char *judge_old(struct vf_h2_guard *guard, uint32_t id)
{
    enum vf_h2_fate fate = vf_h2_ids_get(&guard->ids, id);
    if (fate == VF_H2_BEGUN)
        return NULL;
    guard->code = fate == VF_H2_ENDED ? NGHTTP2_STREAM_CLOSED : NGHTTP2_PROTOCOL_ERROR;
    return fate == VF_H2_ENDED ? "stream_closed" : "stream_id";
}

/* Other faults are left to nghttp2, which knows more. */
static const char *judge_stream(struct vf_h2_guard *guard)
{
    uint8_t type = guard->header[3], flags = guard->header[4];
    uint32_t id = vf_h2_guard_stream(guard);
    bool has_end = type == NGHTTP2_HEADERS || type == NGHTTP2_DATA;
    const char *word = NULL;
    if (id % 2 == 0 || (!has_end && type != NGHTTP2_RST_STREAM))
        return NULL;
    if (id > guard->ids.last && type != NGHTTP2_HEADERS)
        return NULL;
    if (id > guard->ids.last)
        vf_h2_ids_begin(&guard->ids, id);
    else if (has_end)
        word = judge_old(guard, id);
    if (!has_end || (flags & NGHTTP2_FLAG_END_STREAM) != 0)
        vf_h2_ids_end(&guard->ids, id);
    return word;
}

/* --- Both --- */

static bool is_of_head(const struct vf_h2_guard *guard)
{
    return guard->header[3] == NGHTTP2_HEADERS || guard->header[3] == NGHTTP2_CONTINUATION;
}

static const char *judge(struct vf_h2_guard *guard, uint64_t now_ns)
{
    const char *word = judge_flood(guard, now_ns);
    guard->code = NGHTTP2_ENHANCE_YOUR_CALM;
    if (word == NULL && !guard->is_backend && !guard->in_block)
        word = judge_stream(guard);
    guard->in_block = is_of_head(guard) && (guard->header[4] & NGHTTP2_FLAG_END_HEADERS) == 0;
    return word;
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
        const char *word = judge(guard, now_ns);
        if (word != NULL)
            return word;
    }
    return NULL;
}

const char *vf_h2_guard_fault(struct vf_h2_guard *guard, uint64_t now_ns)
{
    guard->code = NGHTTP2_ENHANCE_YOUR_CALM;
    return judge_reset(guard, now_ns);
}

void vf_h2_guard_init_backend(struct vf_h2_guard *guard)
{
    *guard = (struct vf_h2_guard){.preface_len = VF_H2_PREFACE_BYTES, .is_backend = true};
}

void vf_h2_guard_sent(struct vf_h2_guard *guard, size_t len)
{
    if (guard->pings_earned < MOST_PINGS)
        guard->pings_earned++;
    if (len >= TINY_BYTES && guard->windows_earned < MOST_WINDOWS)
        guard->windows_earned += 1 + (uint32_t)(len / BYTES_PER_WINDOW);
}

bool vf_h2_guard_in_head(const struct vf_h2_guard *guard)
{
    return guard->in_block || (guard->skip > 0 && is_of_head(guard));
}
