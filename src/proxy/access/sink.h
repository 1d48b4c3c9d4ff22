/* proxy/access/sink.h - where the lines of an access log go: a file, a pipe or standard output.
 * Files are opened O_APPEND and each write(2) ends with a line, so workers share a file. On a pipe
 * writes are at most PIPE_BUF long, which the kernel keeps whole; only a longer line may be mixed
 * with those of other workers. What cannot be written (a full disk, a pipe without reader) is
 * dropped and counted, with one warning when that begins and one line when it ends.
 *
 * Calls may wait, for a disk or for who reads a pipe: they are for a thread of their own. */
#ifndef VF_PROXY_ACCESS_SINK_H
#define VF_PROXY_ACCESS_SINK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

struct vf_state_totals;

struct vf_access_sink {
    char *path; /* NULL: standard output */
    int fd;
    struct vf_state_totals *totals; /* log_lines, log_dropped */
    const atomic_bool *gives_up;    /* what is not written yet is dropped */
    bool is_stream;                 /* a pipe or socket: others write to it, and it may be full */
    bool is_failing;                /* the last write failed */
    bool is_torn;                   /* the last write ended within a line */
    size_t n_failed;                /* lines dropped since is_failing */
};

/* Opens `path`; "stdout" is standard output. `totals` and `gives_up` outlive it. Returns 0;
 * UV_ENOMEM; or why the file cannot be opened, UV_E* (UV_ENXIO: a FIFO that nobody reads). */
int vf_access_sink_open(struct vf_access_sink *sink, struct vf_str path,
                        struct vf_state_totals *totals, const atomic_bool *gives_up);
void vf_access_sink_close(struct vf_access_sink *sink);

/* Writes whole lines; what cannot be written is dropped and counted. */
void vf_access_sink_write(struct vf_access_sink *sink, const char *data, size_t len);

/* Opens the file anew, after it was renamed. When that fails the old one stays in use, with a
 * warning. Standard output stays as it is. */
void vf_access_sink_reopen(struct vf_access_sink *sink);

/* Its path, or "stdout", for log lines. */
const char *vf_access_sink_name(const struct vf_access_sink *sink);

#endif
