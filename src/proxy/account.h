/* proxy/account.h - what an exchange leaves behind: counters, the access log, recent errors. */
#ifndef VF_PROXY_ACCOUNT_H
#define VF_PROXY_ACCOUNT_H

#include "proxy/exchange.h"

struct vf_state_backend;

/* Counts and logs an exchange that has ended. Called once. */
void vf_account_exchange(struct vf_exchange *ex);

/* The exchange has its route: its tenant's use is counted from here on. */
void vf_account_meter(struct vf_exchange *ex);

/* Its answer begins: counts the request for its tenant. Use is counted before the client gets to
 * know of it, so that a process killed at any point has counted all that clients were answered
 * (but what was just spliced: bytes only). */
void vf_account_answer(struct vf_exchange *ex);

/* Content comes from the client, or goes to it. */
void vf_account_in(struct vf_exchange *ex, uint64_t bytes);
void vf_account_out(struct vf_exchange *ex, uint64_t bytes);

/* An exchange begins, or stops, to be in flight at ex->backend. */
void vf_account_enter_backend(struct vf_exchange *ex);
void vf_account_leave_backend(struct vf_exchange *ex);

/* Counts an answer of a backend that ended at `now_ns`: its status, what was sent to it, and how
 * long that took. */
void vf_account_backend(struct vf_state_backend *backend, uint32_t status, uint64_t bytes,
                        uint64_t us, uint64_t now_ns);

/* A backend of a pool took no connection: tells balancer, passive health and log. */
void vf_account_connect_failure(struct vf_proxy *proxy, const struct vf_snapshot *snapshot,
                                uint32_t pool_index, uint32_t backend_index, uint32_t try);

/* A refused message: one line with rule, section and offset. */
void vf_account_fault(struct vf_exchange *ex, const struct vf_fault *fault, const char *side);

#endif
