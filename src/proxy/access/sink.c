#include "proxy/access/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/log.h"
#include "snapshot/state.h"

enum {
    FILE_MODE = 0640,
    POLL_MS = 100 /* between two looks at `gives_up` while a pipe is full */
};

/* The loop counts lines, too: additions are atomic. */
static void count(vf_count *counter, size_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static size_t count_lines(const char *data, size_t len)
{
    const char *end = data + len;
    size_t n = 0;
    while ((data = memchr(data, '\n', (size_t)(end - data))) != NULL) {
        data++;
        n++;
    }
    return n;
}

/* Opens the file. A FIFO gets an end of our own, so O_NONBLOCK troubles nobody else. */
static int open_file(const char *path)
{
    int fd =
        open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, FILE_MODE);
    return fd < 0 ? uv_translate_sys_error(errno) : fd;
}

static int open_stdout(void)
{
    int fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    return fd < 0 ? uv_translate_sys_error(errno) : fd;
}

static void use_descriptor(struct vf_access_sink *sink, int fd)
{
    struct stat status;
    sink->fd = fd;
    sink->is_stream =
        fstat(fd, &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode));
    sink->is_torn = false;
}

const char *vf_access_sink_name(const struct vf_access_sink *sink)
{
    return sink->path != NULL ? sink->path : "stdout";
}

int vf_access_sink_open(struct vf_access_sink *sink, struct vf_str path,
                        struct vf_state_totals *totals, const atomic_bool *gives_up)
{
    *sink = (struct vf_access_sink){.fd = -1, .totals = totals, .gives_up = gives_up};
    bool is_stdout = vf_str_eq(path, VF_STR("stdout"));
    if (!is_stdout && (sink->path = strndup(path.data, path.len)) == NULL)
        return UV_ENOMEM;
    int fd = is_stdout ? open_stdout() : open_file(sink->path);
    if (fd < 0) {
        vf_access_sink_close(sink);
        return fd;
    }
    use_descriptor(sink, fd);
    return 0;
}

void vf_access_sink_close(struct vf_access_sink *sink)
{
    if (sink->fd >= 0)
        close(sink->fd);
    free(sink->path);
    sink->fd = -1;
    sink->path = NULL;
}

/* --- Writing --- */

/* Writes `len` bytes. Returns how many were written; fewer with the reason, UV_E*, in *rc. */
static size_t write_bytes(struct vf_access_sink *sink, const char *data, size_t len, int *rc)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = write(sink->fd, data + done, len - done);
        if (n >= 0) {
            done += (size_t)n;
        } else if (errno == EAGAIN) {
            struct pollfd pollfd = {.fd = sink->fd, .events = POLLOUT};
            poll(&pollfd, 1, POLL_MS);
        } else if (errno != EINTR) {
            *rc = uv_translate_sys_error(errno);
            return done;
        }
        if (done < len && atomic_load(sink->gives_up)) {
            *rc = UV_ECANCELED;
            return done;
        }
    }
    return done;
}

/* Ends a line that an earlier failure cut short. */
static int mend(struct vf_access_sink *sink)
{
    int rc = 0;
    if (sink->is_torn && write_bytes(sink, "\n", 1, &rc) == 1)
        sink->is_torn = false;
    return rc;
}

static void note_success(struct vf_access_sink *sink)
{
    if (!sink->is_failing)
        return;
    sink->is_failing = false;
    vf_log_info(NULL, "access_log.writing", "path=%s dropped=%zu", vf_access_sink_name(sink),
                sink->n_failed);
    sink->n_failed = 0;
}

static void note_failure(struct vf_access_sink *sink, int rc, size_t n_lines)
{
    count(&sink->totals->log_dropped, n_lines);
    sink->n_failed += n_lines;
    if (sink->is_failing || rc == UV_ECANCELED)
        return;
    sink->is_failing = true;
    vf_log_warn(NULL, "access_log.dropping", "path=%s err=%s", vf_access_sink_name(sink),
                uv_err_name(rc));
}

/* Returns how many bytes of whole lines go into the next write(2). */
static size_t chunk_len(const struct vf_access_sink *sink, const char *data, size_t len)
{
    if (!sink->is_stream || len <= PIPE_BUF)
        return len;
    const char *last = memrchr(data, '\n', PIPE_BUF);
    if (last == NULL)
        last = memchr(data, '\n', len); /* one line longer than PIPE_BUF */
    return (size_t)(last - data) + 1;
}

void vf_access_sink_write(struct vf_access_sink *sink, const char *data, size_t len)
{
    while (len > 0) {
        size_t chunk = chunk_len(sink, data, len), done = 0;
        int rc = atomic_load(sink->gives_up) ? UV_ECANCELED : mend(sink);
        if (rc == 0)
            done = write_bytes(sink, data, chunk, &rc);
        size_t n_whole = count_lines(data, done);
        count(&sink->totals->log_lines, n_whole);
        if (rc < 0) {
            if (done > 0)
                sink->is_torn = data[done - 1] != '\n';
            note_failure(sink, rc, count_lines(data, len) - n_whole);
            return;
        }
        note_success(sink);
        data += chunk;
        len -= chunk;
    }
}

void vf_access_sink_reopen(struct vf_access_sink *sink)
{
    if (sink->path == NULL)
        return;
    int fd = open_file(sink->path);
    if (fd < 0) {
        vf_log_warn(NULL, "access_log.reopen_failed", "path=%s err=%s", sink->path,
                    uv_err_name(fd));
        return;
    }
    close(sink->fd);
    use_descriptor(sink, fd);
}
