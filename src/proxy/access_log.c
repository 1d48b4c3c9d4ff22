#include "proxy/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "snapshot/snapshot.h"
#include "snapshot/state.h"

enum {
    FILE_MODE = 0640,
    POLL_MS = 100,         /* between two looks at `gives_up` while a pipe is full */
    OVERFLOW_QUIET_S = 10, /* without overflow, until the next one is worth a warning again */
    WAKE_HALF_FULL = VF_ACCESS_BUFFER_BYTES / 2
};

#define NEVER SIZE_MAX

/* Lines, and where among them the file is to be opened anew. */
struct batch {
    char *data; /* VF_ACCESS_BUFFER_BYTES, owned */
    size_t len;
    bool reopens;
    size_t reopen_at; /* bytes that go to the old file */
};

struct vf_access_log {
    struct vf_access_style style; /* the loop's */
    struct vf_state_block *block;
    char *path; /* NULL: standard output */
    pthread_t thread;

    pthread_mutex_t lock; /* guards what follows; held for one line or one swap, never in a call */
    pthread_cond_t wake;  /* fill.len has reached wake_at, or there is something to do */
    pthread_cond_t ended_cond;
    struct batch fill;   /* the loop adds to it */
    size_t wake_at;      /* 1: the thread sleeps; NEVER: it is awake and comes by itself */
    size_t n_overflowed; /* lines dropped because both buffers were full, since the last swap */
    bool stops, ended;
    bool is_orphan;       /* the thread frees the log when it ends */
    atomic_bool gives_up; /* what is not written yet is dropped */

    /* the thread's */
    struct batch out;
    int fd;
    bool is_stream;       /* a pipe or socket: others write to it, and it may be full */
    bool is_failing;      /* the last write failed */
    bool is_torn;         /* the last write ended within a line */
    size_t n_failed;      /* lines dropped since is_failing */
    uint64_t overflow_ns; /* when lines last overflowed; 0: never */
};

/* Counters have two writers here, so they add atomically. */
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

/* The destination */

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

static void use_descriptor(struct vf_access_log *log, int fd)
{
    struct stat status;
    log->fd = fd;
    log->is_stream =
        fstat(fd, &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode));
    log->is_torn = false;
}

static const char *name_of(const struct vf_access_log *log)
{
    return log->path != NULL ? log->path : "stdout";
}

/* Writing: the thread */

/* Writes `len` bytes. Returns how many were written; fewer with the reason, UV_E*, in *rc. */
static size_t write_bytes(struct vf_access_log *log, const char *data, size_t len, int *rc)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = write(log->fd, data + done, len - done);
        if (n >= 0) {
            done += (size_t)n;
        } else if (errno == EAGAIN) {
            struct pollfd pollfd = {.fd = log->fd, .events = POLLOUT};
            poll(&pollfd, 1, POLL_MS);
        } else if (errno != EINTR) {
            *rc = uv_translate_sys_error(errno);
            return done;
        }
        if (done < len && atomic_load(&log->gives_up)) {
            *rc = UV_ECANCELED;
            return done;
        }
    }
    return done;
}

/* Ends a line that an earlier failure cut short. */
static int mend(struct vf_access_log *log)
{
    int rc = 0;
    if (log->is_torn && write_bytes(log, "\n", 1, &rc) == 1)
        log->is_torn = false;
    return rc;
}

static void note_success(struct vf_access_log *log)
{
    if (!log->is_failing)
        return;
    log->is_failing = false;
    vf_log_info(NULL, "access_log.writing", "path=%s dropped=%zu", name_of(log), log->n_failed);
    log->n_failed = 0;
}

static void note_failure(struct vf_access_log *log, int rc, size_t n_lines)
{
    count(&log->block->totals.log_dropped, n_lines);
    log->n_failed += n_lines;
    if (log->is_failing || rc == UV_ECANCELED)
        return;
    log->is_failing = true;
    vf_log_warn(NULL, "access_log.dropping", "path=%s err=%s", name_of(log), uv_err_name(rc));
}

/* Returns how many bytes of whole lines go into the next write(2). */
static size_t chunk_len(const struct vf_access_log *log, const char *data, size_t len)
{
    if (!log->is_stream || len <= PIPE_BUF)
        return len;
    const char *last = memrchr(data, '\n', PIPE_BUF);
    if (last == NULL)
        last = memchr(data, '\n', len); /* one line longer than PIPE_BUF */
    return (size_t)(last - data) + 1;
}

/* Writes whole lines; what cannot be written is dropped and counted. */
static void write_lines(struct vf_access_log *log, const char *data, size_t len)
{
    while (len > 0) {
        size_t chunk = chunk_len(log, data, len), done = 0;
        int rc = atomic_load(&log->gives_up) ? UV_ECANCELED : mend(log);
        if (rc == 0)
            done = write_bytes(log, data, chunk, &rc);
        size_t n_whole = count_lines(data, done);
        count(&log->block->totals.log_lines, n_whole);
        if (rc < 0) {
            if (done > 0)
                log->is_torn = data[done - 1] != '\n';
            note_failure(log, rc, count_lines(data, len) - n_whole);
            return;
        }
        note_success(log);
        data += chunk;
        len -= chunk;
    }
}

static void open_anew(struct vf_access_log *log)
{
    if (log->path == NULL)
        return;
    int fd = open_file(log->path);
    if (fd < 0) {
        vf_log_warn(NULL, "access_log.reopen_failed", "path=%s err=%s", log->path, uv_err_name(fd));
        return;
    }
    close(log->fd);
    use_descriptor(log, fd);
}

static void write_batch(struct vf_access_log *log)
{
    struct batch *out = &log->out;
    size_t first = out->reopens ? out->reopen_at : out->len;
    write_lines(log, out->data, first);
    if (out->reopens)
        open_anew(log);
    write_lines(log, out->data + first, out->len - first);
    out->len = 0;
    out->reopens = false;
}

static void note_overflow(struct vf_access_log *log, size_t n_lines)
{
    uint64_t now_ns = vf_clock_true_ns();
    if (n_lines == 0)
        return;
    if (log->overflow_ns == 0 ||
        now_ns - log->overflow_ns > (uint64_t)OVERFLOW_QUIET_S * 1000000000U)
        vf_log_warn(NULL, "access_log.overflow", "path=%s dropped=%zu", name_of(log), n_lines);
    log->overflow_ns = now_ns;
}

/* Waiting, swapping */

static struct timespec in_ms(unsigned ms)
{
    uint64_t ns = vf_clock_true_ns() + (uint64_t)ms * 1000000U;
    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000U),
                             .tv_nsec = (long)(ns % 1000000000U)};
}

/* Waits for a first line, and then a little for more. Called with the lock. */
static void wait_for_lines(struct vf_access_log *log)
{
    log->wake_at = 1;
    while (log->fill.len == 0 && !log->fill.reopens && !log->stops)
        pthread_cond_wait(&log->wake, &log->lock);
    log->wake_at = WAKE_HALF_FULL;
    struct timespec until = in_ms(VF_ACCESS_GATHER_MS);
    while (log->fill.len < WAKE_HALF_FULL && !log->fill.reopens && !log->stops)
        if (pthread_cond_timedwait(&log->wake, &log->lock, &until) == ETIMEDOUT)
            break;
    log->wake_at = NEVER;
}

static void destroy(struct vf_access_log *log)
{
    close(log->fd);
    pthread_mutex_destroy(&log->lock);
    pthread_cond_destroy(&log->wake);
    pthread_cond_destroy(&log->ended_cond);
    free(log->fill.data);
    free(log->out.data);
    free(log->path);
    free(log);
}

static void end_thread(struct vf_access_log *log)
{
    pthread_mutex_lock(&log->lock);
    bool is_orphan = log->is_orphan;
    log->ended = true;
    pthread_cond_signal(&log->ended_cond);
    pthread_mutex_unlock(&log->lock);
    if (is_orphan)
        destroy(log);
}

static void *run(void *arg)
{
    struct vf_access_log *log = arg;
    bool stops = false;
    while (!stops) {
        pthread_mutex_lock(&log->lock);
        wait_for_lines(log);
        struct batch full = log->fill;
        size_t n_overflowed = log->n_overflowed;
        log->fill = log->out;
        log->out = full;
        log->n_overflowed = 0;
        stops = log->stops;
        pthread_mutex_unlock(&log->lock);
        note_overflow(log, n_overflowed);
        write_batch(log);
    }
    end_thread(log);
    return NULL;
}

/* Opening */

/* Signals are the loop's; SIGPIPE becomes EPIPE. */
static int start_thread(struct vf_access_log *log)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&log->thread, NULL, run, log);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return uv_translate_sys_error(rc);
}

static void init_locks(struct vf_access_log *log)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&log->lock, NULL);
    pthread_cond_init(&log->wake, &monotonic);
    pthread_cond_init(&log->ended_cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

static struct vf_access_log *allocate(struct vf_str path)
{
    struct vf_access_log *log = calloc(1, sizeof(*log));
    if (log == NULL)
        return NULL;
    log->fd = -1;
    log->wake_at = NEVER;
    init_locks(log);
    log->fill.data = malloc(VF_ACCESS_BUFFER_BYTES);
    log->out.data = malloc(VF_ACCESS_BUFFER_BYTES);
    bool is_stdout = vf_str_eq(path, VF_STR("stdout"));
    if (!is_stdout)
        log->path = strndup(path.data, path.len);
    if (log->fill.data == NULL || log->out.data == NULL || (!is_stdout && log->path == NULL)) {
        destroy(log);
        return NULL;
    }
    return log;
}

static enum vf_snap_log_format resolve_format(const struct vf_snap_settings *settings, int fd)
{
    if (settings->access_format != VF_ACCESS_AUTO)
        return (enum vf_snap_log_format)settings->access_format;
    return isatty(fd) ? VF_ACCESS_TEXT : VF_ACCESS_JSON;
}

int vf_access_log_new(const struct vf_snapshot *snapshot, struct vf_state_block *block,
                      struct vf_access_log **out)
{
    const struct vf_snap_settings *settings = vf_snap_settings(snapshot);
    struct vf_str path = vf_snap_str(snapshot, settings->access_path);
    if (vf_str_eq(path, VF_STR("off"))) {
        *out = NULL;
        return 0;
    }
    struct vf_access_log *log = allocate(path);
    if (log == NULL)
        return UV_ENOMEM;
    int rc = log->path != NULL ? open_file(log->path) : open_stdout();
    if (rc < 0)
        goto fail;
    use_descriptor(log, rc);
    log->block = block;
    vf_access_style_init(&log->style, resolve_format(settings, log->fd),
                         settings->access_query != 0);
    if ((rc = start_thread(log)) < 0)
        goto fail;
    *out = log;
    return 0;

fail:
    destroy(log);
    return rc;
}

/* The loop */

void vf_access_log_write(struct vf_access_log *log, const struct vf_access_record *record)
{
    size_t bound = vf_access_line_bound(record);
    bool wakes = false;
    pthread_mutex_lock(&log->lock);
    struct batch *fill = &log->fill;
    if (VF_ACCESS_BUFFER_BYTES - fill->len >= bound) {
        fill->len += vf_access_line(&log->style, record, fill->data + fill->len);
    } else {
        log->n_overflowed++;
        count(&log->block->totals.log_dropped, 1);
    }
    if (fill->len >= log->wake_at) {
        wakes = true;
        log->wake_at = NEVER;
    }
    pthread_mutex_unlock(&log->lock);
    if (wakes)
        pthread_cond_signal(&log->wake);
}

void vf_access_log_reopen(struct vf_access_log *log)
{
    pthread_mutex_lock(&log->lock);
    log->fill.reopens = true;
    log->fill.reopen_at = log->fill.len;
    pthread_cond_signal(&log->wake);
    pthread_mutex_unlock(&log->lock);
}

/* Lets the thread free the log. Called with the lock, so it has not ended yet. */
static void leave_behind(struct vf_access_log *log)
{
    log->is_orphan = true;
    pthread_detach(log->thread);
}

void vf_access_log_retire(struct vf_access_log *log)
{
    if (log == NULL)
        return;
    pthread_mutex_lock(&log->lock);
    log->stops = true;
    leave_behind(log);
    pthread_cond_signal(&log->wake);
    pthread_mutex_unlock(&log->lock);
}

/* Waits for the end of the thread. Returns false after VF_ACCESS_CLOSE_MS. Called with the lock. */
static bool wait_for_end(struct vf_access_log *log)
{
    struct timespec until = in_ms(VF_ACCESS_CLOSE_MS);
    while (!log->ended)
        if (pthread_cond_timedwait(&log->ended_cond, &log->lock, &until) == ETIMEDOUT)
            break;
    return log->ended;
}

void vf_access_log_free(struct vf_access_log *log)
{
    if (log == NULL)
        return;
    pthread_mutex_lock(&log->lock);
    log->stops = true;
    pthread_cond_signal(&log->wake);
    bool ended = wait_for_end(log);
    if (!ended) {
        atomic_store(&log->gives_up, true);
        leave_behind(log);
    }
    pthread_mutex_unlock(&log->lock);
    if (ended) {
        pthread_join(log->thread, NULL);
        destroy(log);
    }
}
