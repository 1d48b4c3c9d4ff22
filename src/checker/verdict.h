/* checker/verdict.h - from single results to up and down, written to the state area.
 *
 *   UNKNOWN -> UP or DOWN with the first result;  UP -> DOWN after `fall` failures in a row;
 *   DOWN -> UP after `rise` successes in a row */
#ifndef VF_CHECKER_VERDICT_H
#define VF_CHECKER_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "snapshot/state.h"

enum { VF_REASON_BYTES = 80 }; /* of struct vf_backend_state */

/* What one check found. */
struct vf_check_result {
    bool is_ok;
    uint32_t status; /* HTTP status, 0: none */
    uint64_t took_us;
    char reason[VF_REASON_BYTES]; /* "status 500, expected 200"; NUL-terminated */
};

/* Results in a row of one backend; zeros at first. */
struct vf_verdict {
    uint32_t successes, failures;
};

/* Notes a result at `now_ns` (monotonic). `interval_ms` is how often results come. Returns true
 * when the backend's health changed. The caller is the only writer of this backend's active
 * health. */
bool vf_verdict_note(struct vf_verdict *verdict, struct vf_backend_state *backend,
                     const struct vf_check_result *result, uint32_t rise, uint32_t fall,
                     uint64_t interval_ms, uint64_t now_ns);

/* Makes a backend unknown: nobody checks it any more. */
void vf_verdict_forget(struct vf_backend_state *backend);

#endif
