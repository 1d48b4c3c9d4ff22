/* proxy/access/log.h - the access log of one worker: lines for exchanges that have ended.
 * The loop formats a line into one of two buffers of 256 KiB; a thread writes the other one and
 * swaps them. So the loop waits neither for a disk nor for whoever reads a pipe: when both buffers
 * are full, lines are dropped and counted (totals.log_dropped; totals.log_lines are the written
 * ones). The thread gathers lines for some milliseconds before it writes, which keeps the number of
 * system calls, and of wake-ups, small under load. How it writes is access/sink.h's.
 *
 * All functions are for the loop's thread. */
#ifndef VF_PROXY_ACCESS_LOG_H
#define VF_PROXY_ACCESS_LOG_H

#include "proxy/access/line.h"

struct vf_access_log;
struct vf_snapshot;
struct vf_state_block;

enum {
    VF_ACCESS_BUFFER_BYTES = 256 * 1024,
    VF_ACCESS_GATHER_MS = 5,  /* how long the thread gathers lines before it writes */
    VF_ACCESS_CLOSE_MS = 2000 /* how long vf_access_log_free waits for a slow reader */
};

/* Opens the log that the settings of `snapshot` ask for and starts its thread. Lines are counted in
 * `block`, which outlives the process. Stores it in *out, owned by the caller; NULL when the access
 * log is off. Returns 0; UV_ENOMEM; or why the file cannot be opened, UV_E* (UV_ENXIO: a FIFO that
 * nobody reads). */
int vf_access_log_new(const struct vf_snapshot *snapshot, struct vf_state_block *block,
                      struct vf_access_log **out);

/* Adds the line of `record`, or counts it as dropped. */
void vf_access_log_write(struct vf_access_log *log, const struct vf_access_record *record);

/* Opens the file anew, after it was renamed, in the thread: earlier lines go to the old file, later
 * ones to the new one. When that fails the old file stays in use, with a warning. Standard output
 * stays as it is. */
void vf_access_log_reopen(struct vf_access_log *log);

/* Ends the log without waiting, when a reload replaces it: the thread writes what is buffered and
 * frees the log. NULL is accepted. */
void vf_access_log_retire(struct vf_access_log *log);

/* Writes what is buffered and ends the thread, for VF_ACCESS_CLOSE_MS at most, when the process
 * ends: what then is left is dropped, and a thread that hangs in write(2) frees the log if ever it
 * returns. NULL is accepted. */
void vf_access_log_free(struct vf_access_log *log);

#endif
