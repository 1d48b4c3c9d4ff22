#include "proxy/access/log.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/access/sink.h"
#include "snapshot/snapshot.h"
#include "snapshot/state.h"

enum {
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
    struct vf_access_sink sink;
    uint64_t overflow_ns; /* when lines last overflowed; 0: never */
};

/* Counters have two writers here, so they add atomically. */
static void count(vf_count *counter, size_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* --- The thread --- */

static void write_batch(struct vf_access_log *log)
{
    struct batch *out = &log->out;
    size_t first = out->reopens ? out->reopen_at : out->len;
    vf_access_sink_write(&log->sink, out->data, first);
    if (out->reopens)
        vf_access_sink_reopen(&log->sink);
    vf_access_sink_write(&log->sink, out->data + first, out->len - first);
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
        vf_log_warn(NULL, "access_log.overflow", "path=%s dropped=%zu",
                    vf_access_sink_name(&log->sink), n_lines);
    log->overflow_ns = now_ns;
}

/* --- Waiting, swapping --- */

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
    vf_access_sink_close(&log->sink);
    pthread_mutex_destroy(&log->lock);
    pthread_cond_destroy(&log->wake);
    pthread_cond_destroy(&log->ended_cond);
    free(log->fill.data);
    free(log->out.data);
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

/* --- Opening --- */

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

static struct vf_access_log *allocate(void)
{
    struct vf_access_log *log = calloc(1, sizeof(*log));
    if (log == NULL)
        return NULL;
    log->sink.fd = -1;
    log->wake_at = NEVER;
    init_locks(log);
    log->fill.data = malloc(VF_ACCESS_BUFFER_BYTES);
    log->out.data = malloc(VF_ACCESS_BUFFER_BYTES);
    if (log->fill.data == NULL || log->out.data == NULL) {
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
    struct vf_access_log *log = allocate();
    if (log == NULL)
        return UV_ENOMEM;
    int rc = vf_access_sink_open(&log->sink, path, &block->totals, &log->gives_up);
    if (rc < 0)
        goto fail;
    log->block = block;
    vf_access_style_init(&log->style, resolve_format(settings, log->sink.fd),
                         settings->access_query != 0);
    if ((rc = start_thread(log)) < 0)
        goto fail;
    *out = log;
    return 0;

fail:
    destroy(log);
    return rc;
}

/* --- The loop --- */

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
