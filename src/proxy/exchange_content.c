/* proxy/exchange_content.c - the content of a request: to the backend, with a copy where it may be
 * needed once more; or collected, for phases and handlers. */
#include <string.h>
#include <uv.h>

#include "base/spool.h"
#include "http/method.h"
#include "proxy/account.h"
#include "proxy/core.h"
#include "proxy/downstream.h"
#include "proxy/request.h"
#include "proxy/upstream.h"

enum { REPLAY_BYTES = 64 * 1024 /* of content kept for a second try */ };

bool vf_exchange_wants_body(const struct vf_exchange *ex)
{
    if (ex->tunnel != NULL)
        return !ex->tunnel_held;
    if (ex->proxy->has_handler || ex->collects || (ex->answer_ended && ex->upstream == NULL))
        return true; /* collected, or dropped */
    return ex->upstream != NULL && !vf_upstream_is_blocked(ex);
}

/* A disk that is full is the one fault that is not ours. */
static void spool(struct vf_exchange *ex, struct vf_str slice)
{
    if (vf_spool_write(ex->spool, slice.data, slice.len) == 0)
        return;
    ex->close_client = true;
    vf_spool_free(ex->spool);
    ex->spool = NULL;
    vf_exchange_problem(ex, 507, "insufficient_storage",
                        "There is no room on the disk for the content of this request.");
}

static void collect(struct vf_exchange *ex, struct vf_str slice)
{
    if (ex->spool != NULL) {
        spool(ex, slice);
        return;
    }
    size_t need = ex->request_body.len + slice.len;
    if (need > ex->request_body_room) {
        size_t room = need < 4096 ? 4096 : need * 2;
        char *body = vf_arena_alloc(&ex->arena, room);
        if (body == NULL) {
            vf_client_close(ex, "out_of_memory");
            return;
        }
        if (ex->request_body.len > 0)
            memcpy(body, ex->request_body.data, ex->request_body.len);
        ex->request_body.data = body;
        ex->request_body_room = room;
    }
    memcpy((char *)(uintptr_t)ex->request_body.data + ex->request_body.len, slice.data, slice.len);
    ex->request_body.len = need;
}

/* Content may have to be sent once more when a kept connection turns out to be dead, or when the
 * backend says that it has done nothing about the request. */
static bool may_replay(const struct vf_exchange *ex)
{
    bool has_length = ex->request.framing == VF_FRAMING_LENGTH;
    if (ex->retried || (has_length && ex->request.content_length > REPLAY_BYTES))
        return false;
    return ex->upstream->codec->may_refuse ||
           (ex->on_reused && has_length && vf_method_is_idempotent((int)ex->sent_method));
}

/* Makes room for `more` bytes of the copy. Returns false when there may be none, or no memory. */
static bool grow_replay(struct vf_exchange *ex, size_t more)
{
    size_t need = ex->replay.len + more, room = ex->replay_room * 2;
    if (need <= ex->replay_room)
        return true;
    if (need > REPLAY_BYTES)
        return false;
    if (ex->replay_room == 0 && ex->request.framing == VF_FRAMING_LENGTH)
        room = (size_t)ex->request.content_length;
    if (room < need)
        room = need;
    char *copy = vf_arena_alloc(&ex->arena, room);
    if (copy == NULL)
        return false;
    if (ex->replay.len > 0)
        memcpy(copy, ex->replay.data, ex->replay.len);
    ex->replay.data = copy;
    ex->replay_room = room;
    return true;
}

/* Keeps a copy of content that goes out, where it may be needed. */
static void keep_for_replay(struct vf_exchange *ex, struct vf_str slice)
{
    if (ex->bytes_in == slice.len) /* the first piece */
        ex->replayable = may_replay(ex);
    if (!ex->replayable)
        return;
    if (!grow_replay(ex, slice.len)) {
        ex->replayable = false;
        ex->replay.len = 0;
        return;
    }
    memcpy((char *)(uintptr_t)ex->replay.data + ex->replay.len, slice.data, slice.len);
    ex->replay.len += slice.len;
}

/* More content than the phase that waits may have: it is told, and the rest stays with the client
 * until the request leaves. */
static void fail_collecting(struct vf_exchange *ex)
{
    ex->collects = false;
    ex->collect_failed = true;
    ex->proxy->phases.on_content(ex->proxy->phases.owner, ex);
}

static void refuse_large_body(struct vf_exchange *ex)
{
    ex->close_client = true;
    ex->reason = "body_too_large";
    vf_upstream_abandon(ex);
    if (!ex->head_sent)
        vf_exchange_problem(ex, 413, "body_too_large", "The request body is larger than allowed.");
    else
        vf_client_abort(ex);
}

void vf_exchange_on_request_data(struct vf_exchange *ex, struct vf_str slice)
{
    if (ex->client == NULL)
        return; /* it ended within this read */
    vf_account_in(ex, slice.len);
    if (ex->tunnel != NULL) {
        ex->proxy->handler.on_tunnel_data(ex->proxy->handler.owner, ex, slice);
        return;
    }
    if (!ex->is_tunnel && ex->bytes_in > vf_exchange_body_limit(ex)) {
        refuse_large_body(ex);
        return;
    }
    if ((ex->proxy->has_handler || ex->collects) && !ex->answer_ended) {
        collect(ex, slice);
        if (ex->collects && ex->request_body.len > ex->collect_max)
            fail_collecting(ex);
        return;
    }
    if (ex->upstream == NULL) {
        if (ex->answer_ended)
            vf_client_discard(ex, slice.len);
        return;
    }
    if (!ex->is_tunnel)
        keep_for_replay(ex, slice);
    vf_upstream_send_data(ex, slice);
}
