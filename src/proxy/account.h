/* proxy/account.h - what an exchange leaves behind: counters, the access log, recent errors. */
#ifndef VF_PROXY_ACCOUNT_H
#define VF_PROXY_ACCOUNT_H

#include "proxy/exchange.h"

/* Counts and logs an exchange that has ended. Called once. */
void vf_account_exchange(struct vf_exchange *ex);

/* An exchange begins, or stops, to be in flight at ex->backend. */
void vf_account_enter_backend(struct vf_exchange *ex);
void vf_account_leave_backend(struct vf_exchange *ex);

/* A refused message: one line with rule, section and offset. */
void vf_account_fault(struct vf_exchange *ex, const struct vf_fault *fault, const char *side);

#endif
