/* checker/checker.h - active health checks: the only writer of active health. Every backend of the
 * published snapshot with a health check is asked each interval (+-10 %), the first time at once
 * (spread over a second). HTTP: GET, judged by the status; TCP: a connection. The first result of a
 * backend decides at once; afterwards `rise` successes or `fall` failures in a row do. Results go
 * to struct vf_backend_state with a reason for people, and each change to the log: backend.up,
 * backend.down.
 *
 * A time-out counts only after a last look at the socket found nothing, and time in which this
 * process itself did not run is not the backend's. One socket per check, at most
 * VF_CHECKER_CONCURRENT of them; what is due beyond that waits its turn. */
#ifndef VF_CHECKER_CHECKER_H
#define VF_CHECKER_CHECKER_H

#include <uv.h>

struct vf_checker;
struct vf_snapshot;
struct vf_state;

enum { VF_CHECKER_CONCURRENT = 512 };

/* Makes a checker on `loop` that counts into block `block` of `state`. Owned by the caller.
 * Returns 0 or UV_E*. */
int vf_checker_new(uv_loop_t *loop, struct vf_state *state, int block, struct vf_checker **out);

/* Checks what `snapshot` says from here on; retains it. Schedules of backends that stay (by id) go
 * on. A backend whose check was taken away becomes unknown, which is usable. */
void vf_checker_publish(struct vf_checker *checker, struct vf_snapshot *snapshot);

/* Ends all checks and frees the checker; its handles close when the loop runs on. NULL is left
 * alone. */
void vf_checker_free(struct vf_checker *checker);

#endif
