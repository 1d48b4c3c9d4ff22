/* proxy/phases.h - where plugins join an exchange. src/lua fills in struct vf_phases; a proxy
 * that has none, and an exchange whose chain has no plugin for a phase, pay one test.
 *
 *   ClientHello read -> CERTIFICATE -> TLS begins, see proxy/hello.h
 *   route found -> REWRITE -> ACCESS -> BALANCER -> request leaves
 *   answer, from a backend or our own -> HEADER_FILTER -> head leaves -> BODY_FILTER for each piece
 *   exchange over -> LOG
 *
 * Each phase may wait: the exchange then stands still (nothing is read for it, what was read
 * already is held) until vf_phases_resume. One phase of an exchange runs at a time. */
#ifndef VF_PROXY_PHASES_H
#define VF_PROXY_PHASES_H

#include <stdbool.h>

#include "base/str.h"
#include "snapshot/layout.h"

struct vf_exchange;

enum { VF_PHASES_DETACHED_MAX = 4096 /* exchanges in their log phase, per process */ };

enum vf_verdict {
    VF_VERDICT_GO = 0, /* on with the exchange */
    VF_VERDICT_WAIT,   /* vf_phases_resume follows, unless `cancel` comes first */
    VF_VERDICT_END     /* the phase answered (vf_exchange_answer), or the exchange has failed */
};

struct vf_phases {
    void *owner; /* passed back as the first argument */
    /* Finds the chain `chain` (VF_SNAP_CHAINS of ex->snapshot) and stores what runs it in
     * ex->plugins and the phases that it has in ex->phases. */
    void (*attach)(void *owner, struct vf_exchange *ex, uint32_t chain);
    /* Runs the plugins of a phase that ex->phases has. BODY_FILTER works on ex->chunk. */
    enum vf_verdict (*run)(void *owner, struct vf_exchange *ex, enum vf_phase phase);
    /* The request content that a waiting plugin asked for (vf_phases_collect) is complete, or is
     * larger than allowed: ex->request_state and ex->collect_failed tell. */
    void (*on_content)(void *owner, struct vf_exchange *ex);
    /* The phase that waits is not waited for any more, because of `why` ("client gone"). */
    void (*cancel)(void *owner, struct vf_exchange *ex, const char *why);
    /* The exchange is over: gives ex->plugins back. */
    void (*detach)(void *owner, struct vf_exchange *ex);
    /* An event of the loop is over: what it made ready runs now. */
    void (*after_event)(void *owner);
};

/* Joins the plugins of `chain` (VF_SNAP_NONE: none) to the exchange. */
void vf_phases_attach(struct vf_exchange *ex, uint32_t chain);

/* Runs one phase. GO at once when the chain has none. */
enum vf_verdict vf_phases_run(struct vf_exchange *ex, enum vf_phase phase);

/* The phase that waited is done, all went well: the exchange goes on from there. Called by the
 * owner of the phases, never from within `run`. */
void vf_phases_resume(struct vf_exchange *ex);

/* Nothing waits any more: whoever ends or answers the exchange calls this first. Tells the
 * plugin. */
void vf_phases_cancel(struct vf_exchange *ex, const char *why);

/* As above without telling: the owner of the phases is about to answer, or to fail, itself. */
void vf_phases_forget_wait(struct vf_exchange *ex);

/* Asks for the whole request content, at most `max_bytes`, in ex->request_body, while a phase
 * before the request leaves waits. on_content follows, unless it is there already: returns true
 * then. What exceeds the limit is not lost: it goes to the backend as it comes. */
bool vf_phases_collect(struct vf_exchange *ex, uint64_t max_bytes);

/* Starts reading what vf_phases_collect asked for. Called by the owner once the phase has
 * returned. */
void vf_phases_collect_now(struct vf_exchange *ex);

/* Puts ex->early_fields into the answer, in place of fields of the same names. */
void vf_phases_add_early_fields(struct vf_exchange *ex);

/* Returns true while a phase holds the answer back: nothing more is read from the backend. */
bool vf_phases_hold_answer(const struct vf_exchange *ex);

/* A piece of an answer's content, or its end, comes while the answer is collected for plugins
 * (ex->buffers_answer), or while the header filter waits behind that. What is larger than
 * ex->collect_answer_max leaves piece by piece after all. */
void vf_phases_buffer(struct vf_exchange *ex, struct vf_str slice);
void vf_phases_buffer_end(struct vf_exchange *ex);

/* An answer of our own takes the place of the backend's: what was collected of that is dropped. */
void vf_phases_drop_answer(struct vf_exchange *ex);

/* The head has left: sends what was collected of an answer that was too large. */
void vf_phases_send_backlog(struct vf_exchange *ex);

/* A piece of the answer's content, or with `is_last` its end, goes through the body filter to the
 * client. The slice is borrowed until the next flush. */
void vf_phases_filter(struct vf_exchange *ex, struct vf_str slice, bool is_last);

/* Runs the log phase of an exchange that is over. Returns false when it waits: the exchange lives
 * on, without client and backend, until it is done. */
bool vf_phases_log(struct vf_exchange *ex);

/* Frees what was held. */
void vf_phases_deinit(struct vf_exchange *ex);

#endif
