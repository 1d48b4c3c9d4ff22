#include "proxy/phases.h"

#include <stdlib.h>

#include "proxy/core.h"
#include "proxy/dispatch.h"
#include "proxy/downstream.h"
#include "proxy/exchange.h"
#include "proxy/hello.h"
#include "proxy/request.h"
#include "proxy/upstream.h"

/* What a body filter that waits keeps from being overwritten: the piece that it works on, and what
 * came behind it meanwhile. Bounded by what was read before reading stopped. */
struct vf_held_body {
    char *piece, *rest;
    size_t piece_room, rest_len, rest_room;
    bool has_end; /* the end of the content came, too */
};

void vf_phases_attach(struct vf_exchange *ex, uint32_t chain)
{
    const struct vf_phases *phases = &ex->proxy->phases;
    if (chain == VF_SNAP_NONE || phases->attach == NULL)
        return;
    /* the client's address is looked at when its connection is gone, too */
    char *ip = vf_arena_strndup(&ex->arena, ex->client_ip.data, ex->client_ip.len);
    if (ip != NULL)
        ex->client_ip.data = ip;
    ex->wants_timings =
        ex->trusted && vf_fields_find(&ex->request.fields, VF_STR("VeloFlux-Debug")) != NULL;
    phases->attach(phases->owner, ex, chain);
}

enum vf_verdict vf_phases_run(struct vf_exchange *ex, enum vf_phase phase)
{
    const struct vf_phases *phases = &ex->proxy->phases;
    if ((ex->phases >> phase & 1) == 0)
        return VF_VERDICT_GO;
    ex->waits = phase;
    ex->header_filtered |= phase == VF_PHASE_HEADER_FILTER;
    enum vf_verdict verdict = phases->run(phases->owner, ex, phase);
    if (verdict == VF_VERDICT_GO) /* else it waits, or `ex` may be gone */
        ex->waits = VF_PHASES;
    return verdict;
}

void vf_phases_forget_wait(struct vf_exchange *ex)
{
    ex->waits = VF_PHASES;
    ex->collects = false;
}

void vf_phases_cancel(struct vf_exchange *ex, const char *why)
{
    const struct vf_phases *phases = &ex->proxy->phases;
    if (ex->waits == VF_PHASES)
        return;
    vf_phases_forget_wait(ex);
    phases->cancel(phases->owner, ex, why);
}

/* Request content */

bool vf_phases_collect(struct vf_exchange *ex, uint64_t max_bytes)
{
    if (ex->request_state == VF_FLOW_DONE || ex->collect_failed)
        return true;
    ex->collects = true;
    ex->collect_max = max_bytes;
    if (ex->request.framing == VF_FRAMING_LENGTH && ex->request.content_length > max_bytes)
        ex->collect_failed = true;
    if (ex->collect_failed)
        ex->collects = false;
    return ex->collect_failed;
}

void vf_phases_collect_now(struct vf_exchange *ex)
{
    if (!ex->collects)
        return;
    if (ex->request.expects_continue && !ex->invited)
        vf_exchange_invite_content(ex);
    vf_client_resume(ex);
}

/* The answer */

void vf_phases_add_early_fields(struct vf_exchange *ex)
{
    struct vf_fields *early = &ex->early_fields, *fields = &ex->response.fields;
    uint32_t n_before = fields->count;
    for (uint32_t i = 0; i < early->count; i++) {
        if (early->list[i].dropped)
            continue;
        for (uint32_t at = 0; at < n_before; at++)
            if (vf_str_ieq(fields->list[at].name, early->list[i].name))
                fields->list[at].dropped = true;
        vf_fields_add(fields, &ex->arena, early->list[i].name, early->list[i].value);
    }
}

bool vf_phases_hold_answer(const struct vf_exchange *ex)
{
    return ex->waits == VF_PHASE_HEADER_FILTER || ex->waits == VF_PHASE_BODY_FILTER;
}

static struct vf_held_body *held_of(struct vf_exchange *ex)
{
    if (ex->held == NULL)
        ex->held = calloc(1, sizeof(*ex->held));
    return ex->held;
}

static bool make_room(char **data, size_t *room, size_t need)
{
    if (need <= *room)
        return true;
    char *grown = realloc(*data, need + 16384);
    if (grown == NULL)
        return false;
    *data = grown;
    *room = need + 16384;
    return true;
}

/* Keeps the piece that the filter has to look at again. */
static bool keep_piece(struct vf_exchange *ex)
{
    struct vf_held_body *held = held_of(ex);
    if (held == NULL || !make_room(&held->piece, &held->piece_room, ex->chunk.len))
        return false;
    if (ex->chunk.data != held->piece)
        memcpy(held->piece, ex->chunk.data, ex->chunk.len);
    ex->chunk.data = held->piece;
    return true;
}

static bool keep_rest(struct vf_exchange *ex, struct vf_str slice, bool is_last)
{
    struct vf_held_body *held = held_of(ex);
    if (held == NULL || !make_room(&held->rest, &held->rest_room, held->rest_len + slice.len))
        return false;
    if (slice.len > 0)
        memcpy(held->rest + held->rest_len, slice.data, slice.len);
    held->rest_len += slice.len;
    held->has_end |= is_last;
    return true;
}

/* What was kept behind the piece is the next one. */
static void take_rest(struct vf_exchange *ex)
{
    struct vf_held_body *held = ex->held;
    char *piece = held->piece;
    size_t room = held->piece_room;
    held->piece = held->rest;
    held->piece_room = held->rest_room;
    held->rest = piece;
    held->rest_room = room;
    ex->chunk = vf_str_make(held->piece, held->rest_len);
    held->rest_len = 0;
}

void vf_phases_deinit(struct vf_exchange *ex)
{
    if (ex->held == NULL)
        return;
    free(ex->held->piece);
    free(ex->held->rest);
    free(ex->held);
    ex->held = NULL;
}

/* What the filter made of the piece leaves at once: its memory is the filter's. Returns false
 * when the exchange ended. */
static bool send_chunk(struct vf_exchange *ex)
{
    if (ex->chunk.len == 0 || ex->client == NULL)
        return true;
    vf_client_send_data(ex, ex->chunk);
    return vf_client_flush(ex);
}

/* Runs the filter on ex->chunk. Returns true when it went through and the exchange goes on. */
static bool filter_chunk(struct vf_exchange *ex)
{
    const char *borrowed = ex->chunk.data;
    enum vf_verdict verdict = vf_phases_run(ex, VF_PHASE_BODY_FILTER);
    if (verdict == VF_VERDICT_GO)
        return send_chunk(ex);
    bool is_borrowed = verdict == VF_VERDICT_WAIT && ex->chunk.data == borrowed;
    if (is_borrowed && ex->chunk.len > 0 && !keep_piece(ex)) {
        vf_exchange_fail(ex, "out_of_memory");
    }
    return false;
}

static void end_content(struct vf_exchange *ex)
{
    vf_client_send_end(ex, &ex->response.trailers);
}

void vf_phases_filter(struct vf_exchange *ex, struct vf_str slice, bool is_last)
{
    if (ex->waits == VF_PHASE_BODY_FILTER) {
        if (!keep_rest(ex, slice, is_last)) {
            vf_exchange_fail(ex, "out_of_memory");
        }
        return;
    }
    ex->chunk = slice;
    ex->chunk_is_last = is_last;
    if (filter_chunk(ex) && is_last)
        end_content(ex);
}

/* The filter went through with a piece after a wait: on with what was held behind it. */
static void resume_body(struct vf_exchange *ex)
{
    struct vf_held_body *held = ex->held;
    bool was_last = ex->chunk_is_last;
    if (!send_chunk(ex))
        return;
    if (was_last) {
        end_content(ex);
        return;
    }
    if (held != NULL && held->rest_len > 0) {
        take_rest(ex);
        ex->chunk_is_last = false;
        if (!filter_chunk(ex))
            return;
    }
    if (held != NULL && held->has_end) {
        ex->chunk = vf_str_make("", 0);
        ex->chunk_is_last = true;
        if (filter_chunk(ex))
            end_content(ex);
    } else if (ex->upstream != NULL) {
        vf_upstream_resume(ex);
    }
}

/* Too large to be collected: the header filter goes without the content. */
static void stop_buffering(struct vf_exchange *ex)
{
    ex->is_buffering = false;
    ex->has_backlog = true;
    if (vf_phases_run(ex, VF_PHASE_HEADER_FILTER) == VF_VERDICT_GO)
        vf_exchange_head_is_ready(ex);
}

void vf_phases_buffer(struct vf_exchange *ex, struct vf_str slice)
{
    if (!keep_rest(ex, slice, false)) {
        vf_exchange_fail(ex, "out_of_memory");
        return;
    }
    if (ex->is_buffering && ex->held->rest_len > ex->collect_answer_max)
        stop_buffering(ex);
}

void vf_phases_buffer_end(struct vf_exchange *ex)
{
    struct vf_held_body *held = held_of(ex);
    if (held == NULL) {
        vf_exchange_fail(ex, "out_of_memory");
        return;
    }
    if (!ex->is_buffering) { /* the header filter waits; see vf_phases_send_backlog */
        held->has_end = true;
        return;
    }
    ex->is_buffering = false;
    ex->is_whole = true;
    take_rest(ex);
    ex->local_body = ex->chunk;
    ex->response.framing = ex->local_body.len > 0 ? VF_FRAMING_LENGTH : VF_FRAMING_NONE;
    ex->response.has_content_length = true;
    ex->response.content_length = ex->local_body.len;
    if (vf_phases_run(ex, VF_PHASE_HEADER_FILTER) == VF_VERDICT_GO)
        vf_exchange_head_is_ready(ex);
}

void vf_phases_drop_answer(struct vf_exchange *ex)
{
    ex->is_buffering = ex->has_backlog = false;
    if (ex->held == NULL)
        return;
    ex->held->rest_len = 0;
    ex->held->has_end = false;
}

void vf_phases_send_backlog(struct vf_exchange *ex)
{
    bool has_end = ex->held->has_end;
    ex->has_backlog = false;
    ex->held->has_end = false;
    take_rest(ex);
    vf_exchange_on_response_data(ex, ex->chunk);
    if (ex->client == NULL)
        return;
    if (has_end)
        vf_exchange_on_response_end(ex);
    else if (ex->upstream != NULL)
        vf_upstream_resume(ex);
}

bool vf_phases_log(struct vf_exchange *ex)
{
    if ((ex->phases >> VF_PHASE_LOG & 1) == 0 || ex->is_logged)
        return true;
    ex->is_logged = true;
    if (ex->proxy->n_detached >= VF_PHASES_DETACHED_MAX) {
        vf_count_add(&ex->proxy->block->totals.log_phases_skipped, 1);
        return true;
    }
    if (vf_phases_run(ex, VF_PHASE_LOG) != VF_VERDICT_WAIT)
        return true;
    ex->proxy->n_detached++;
    return false;
}

void vf_phases_resume(struct vf_exchange *ex)
{
    enum vf_phase phase = ex->waits;
    vf_phases_forget_wait(ex);
    switch (phase) {
    case VF_PHASE_CERTIFICATE:
        vf_hello_go_on(ex);
        break;
    case VF_PHASE_REWRITE:
    case VF_PHASE_ACCESS:
        vf_request_go_on(ex, phase);
        break;
    case VF_PHASE_BALANCER:
        vf_dispatch_to_chosen(ex);
        break;
    case VF_PHASE_HEADER_FILTER:
        vf_exchange_head_is_ready(ex);
        break;
    case VF_PHASE_BODY_FILTER:
        resume_body(ex);
        break;
    case VF_PHASE_LOG:
        ex->proxy->n_detached--;
        vf_exchange_finish(ex);
        break;
    default:
        break;
    }
}
