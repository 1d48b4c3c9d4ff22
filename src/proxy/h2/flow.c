#include "proxy/h2/flow.h"

#include <stdlib.h>
#include <uv.h>

#include "http/h1.h"
#include "http/message.h"

enum { FIRST_ROOM = 4096 };

static size_t room_for(size_t len)
{
    return len < FIRST_ROOM ? FIRST_ROOM : len * 2;
}

bool vf_h2_flow_keep(struct vf_h2_flow *flow, uint64_t *buffered, struct vf_str slice)
{
    size_t used = flow->kept_end - flow->kept_begin;
    if (flow->kept_end + slice.len > flow->kept_room) {
        size_t room = room_for(used + slice.len);
        char *kept = malloc(room);
        if (kept == NULL)
            return false;
        if (used > 0)
            memcpy(kept, flow->kept + flow->kept_begin, used);
        free(flow->kept);
        flow->kept = kept;
        flow->kept_room = room;
        flow->kept_begin = 0;
        flow->kept_end = used;
    }
    memcpy(flow->kept + flow->kept_end, slice.data, slice.len);
    flow->kept_end += slice.len;
    *buffered += slice.len;
    return true;
}

void vf_h2_flow_shrink(struct vf_h2_flow *flow)
{
    if (flow->kept == NULL || vf_h2_flow_has_kept(flow))
        return;
    free(flow->kept);
    flow->kept = NULL;
    flow->kept_begin = flow->kept_end = flow->kept_room = 0;
}

bool vf_h2_flow_keep_input(struct vf_h2_flow *flow, uint64_t *buffered, const char *data,
                           size_t len)
{
    size_t need = flow->input_len + len;
    if (need > flow->input_room) {
        size_t room = room_for(need);
        char *input = realloc(flow->input, room);
        if (input == NULL)
            return false;
        flow->input = input;
        flow->input_room = room;
    }
    memcpy(flow->input + flow->input_len, data, len);
    flow->input_len = need;
    *buffered += len;
    return true;
}

struct vf_str vf_h2_flow_take_input(struct vf_h2_flow *flow, uint64_t *buffered)
{
    struct vf_str input = vf_str_make(flow->input, flow->input_len);
    *buffered -= flow->input_len;
    flow->input = NULL;
    flow->input_len = flow->input_room = 0;
    return input;
}

int vf_h2_flow_add_trailer(struct vf_h2_flow *flow, const struct vf_h1_limits *limits,
                           struct vf_arena *arena, struct vf_fields *trailers, struct vf_str name,
                           struct vf_str value)
{
    flow->trailer_bytes += name.len + value.len;
    if (trailers->count >= limits->header_count || flow->trailer_bytes > limits->header_bytes)
        return 0;
    name.data = vf_arena_strndup(arena, name.data, name.len);
    value.data = vf_arena_strndup(arena, value.data, value.len);
    return name.data == NULL || value.data == NULL ? UV_ENOMEM
                                                   : vf_fields_add(trailers, arena, name, value);
}

void vf_h2_flow_deinit(struct vf_h2_flow *flow, uint64_t *buffered)
{
    *buffered -= flow->kept_end - flow->kept_begin + flow->input_len;
    free(flow->kept);
    free(flow->input);
    free(flow->trailers);
    flow->kept = flow->input = NULL;
    flow->trailers = NULL;
    flow->kept_begin = flow->kept_end = flow->input_len = 0;
}
