#include "checker/probe.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "net/transport.h"
#include "tls/transport.h"

/* A backend that sends more than this after it was judged is cut off. */
static const size_t LINGER_BYTES = 256 * 1024;

/* How long an answer may still take whose bytes came just when time was up. */
static const uint64_t GRACE_MS = 20;

int vf_probe_read_status(const char *data, size_t len)
{
    static const char shape[] = "HTTP/1.d ddd";
    size_t shape_len = sizeof(shape) - 1;
    for (size_t i = 0; i < len && i < shape_len; i++) {
        bool is_digit = data[i] >= '0' && data[i] <= '9';
        if (shape[i] == 'd' ? !is_digit : data[i] != shape[i])
            return VF_EMALFORMED;
    }
    if (len > shape_len && data[shape_len] != ' ' && data[shape_len] != '\r')
        return VF_EMALFORMED;
    if (len <= shape_len || memchr(data, '\n', len) == NULL)
        return 0;
    int status = (data[9] - '0') * 100 + (data[10] - '0') * 10 + (data[11] - '0');
    return status >= 100 && status <= 599 ? status : VF_EMALFORMED;
}

void vf_probe_format_ranges(const struct vf_probe_plan *plan, char *out, size_t room)
{
    size_t len = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < plan->n_ranges && len < room; i++) {
        int n;
        if (plan->ranges[i].low == plan->ranges[i].high)
            n = snprintf(out + len, room - len, "%s%u", i > 0 ? "," : "", plan->ranges[i].low);
        else
            n = snprintf(out + len, room - len, "%s%u-%u", i > 0 ? "," : "", plan->ranges[i].low,
                         plan->ranges[i].high);
        len += (size_t)n;
    }
}

static void close_probe(struct vf_probe *probe)
{
    vf_probe_stop(probe);
    probe->events->on_closed(probe->owner);
}

/* Tells the owner, then lingers or closes. */
__attribute__((format(printf, 4, 5))) static void judge(struct vf_probe *probe, bool is_ok,
                                                        int status, const char *format, ...)
{
    struct vf_check_result result = {.is_ok = is_ok, .status = (uint32_t)status};
    bool is_connected = probe->state != VF_PROBE_CONNECTING;
    va_list args;
    va_start(args, format);
    vsnprintf(result.reason, sizeof(result.reason), format, args);
    va_end(args);
    result.took_us = (vf_clock_ns() - probe->started_ns) / 1000;
    probe->is_judged = true;
    probe->state = VF_PROBE_LINGERING;
    probe->events->on_judged(probe->owner, &result, is_connected);
    if (probe->stream.io.fd >= 0 && status == 0)
        close_probe(probe);
}

static void judge_status(struct vf_probe *probe, int status)
{
    char expected[48];
    for (uint32_t i = 0; i < probe->plan.n_ranges; i++) {
        if (status < probe->plan.ranges[i].low || status > probe->plan.ranges[i].high)
            continue;
        judge(probe, true, status, "status %d", status);
        return;
    }
    vf_probe_format_ranges(&probe->plan, expected, sizeof(expected));
    judge(probe, false, status, "status %d, expected %s", status, expected);
}

/* Drops an interim head (1xx) from the front. Returns false when it is not complete yet. */
static bool drop_interim(struct vf_probe *probe)
{
    char *end = memmem(probe->answer, probe->answer_len, "\r\n\r\n", 4);
    if (end == NULL)
        return false;
    size_t len = (size_t)(end - probe->answer) + 4;
    probe->answer_len -= len;
    memmove(probe->answer, probe->answer + len, probe->answer_len);
    return true;
}

static void look_at_answer(struct vf_probe *probe)
{
    for (;;) {
        int status = vf_probe_read_status(probe->answer, probe->answer_len);
        bool is_full = probe->answer_len == sizeof(probe->answer);
        if (status < 0 || status == 101) {
            judge(probe, false, 0, "malformed answer");
            return;
        }
        if (status >= 200) {
            judge_status(probe, status);
            return;
        }
        if (status == 0 || !drop_interim(probe)) {
            if (is_full)
                judge(probe, false, 0, "malformed answer");
            return;
        }
    }
}

/* Reads once. Returns false when there is nothing to read now, or the probe has ended. */
static bool read_more(struct vf_probe *probe)
{
    char waste[16 * 1024];
    bool lingers = probe->is_judged;
    char *room = lingers ? waste : probe->answer + probe->answer_len;
    size_t size = lingers ? sizeof(waste) : sizeof(probe->answer) - probe->answer_len;
    probe->stream.readable = true; /* what is not there is EAGAIN */
    ssize_t n = vf_stream_recv(&probe->stream, room, size);
    if (n == UV_EAGAIN || n == UV_EINTR)
        return n == UV_EINTR;
    if (lingers && (n <= 0 || (probe->lingered += (size_t)n) > LINGER_BYTES)) {
        close_probe(probe);
        return false;
    }
    if (n < 0) {
        judge(probe, false, 0, "read: %s", vf_error_name((int)n));
    } else if (n == 0) {
        judge(probe, false, 0, "closed before an answer");
    } else if (!lingers) {
        probe->answer_len += (size_t)n;
        look_at_answer(probe);
    }
    return probe->stream.io.fd >= 0;
}

static size_t bytes_to_send(const struct vf_probe *probe)
{
    return probe->plan.question_len - probe->sent;
}

static ssize_t send_once(struct vf_probe *probe, size_t len)
{
    struct vf_stream *stream = &probe->stream;
    const char *data = probe->plan.question + probe->sent;
    if (vf_stream_is_plain(stream))
        return vf_transport_send(stream, data, len);
    struct iovec part = {(void *)(uintptr_t)data, len};
    stream->blocked = false;
    return stream->transport->ops->send(stream, &part, 1);
}

static void send_question(struct vf_probe *probe)
{
    while (bytes_to_send(probe) > 0) {
        ssize_t n = send_once(probe, bytes_to_send(probe));
        if (n == UV_EINTR)
            continue;
        if (n < 0 && n != UV_EAGAIN) /* an answer may have come all the same: read it */
            break;
        if (n < 0)
            return;
        probe->sent += (size_t)n;
    }
    probe->state = VF_PROBE_ANSWER;
}

/* A connection to a port nobody listens on may meet itself when the port is an ephemeral one. */
static bool is_to_itself(int fd)
{
    struct sockaddr_storage here, there;
    socklen_t here_len = sizeof(here), there_len = sizeof(there);
    memset(&here, 0, sizeof(here));
    memset(&there, 0, sizeof(there));
    return getsockname(fd, (struct sockaddr *)&here, &here_len) == 0 &&
           getpeername(fd, (struct sockaddr *)&there, &there_len) == 0 && here_len == there_len &&
           memcmp(&here, &there, here_len) == 0;
}

/* Goes on with the handshake. */
static void shake_hands(struct vf_probe *probe)
{
    char reason[48];
    int rc = probe->stream.transport->ops->start(&probe->stream);
    if (rc == 0)
        probe->state = VF_PROBE_ASKING;
    else if (rc == VF_ETLS)
        judge(probe, false, 0, "TLS: %s", vf_tls_reason(&probe->stream, reason, sizeof(reason)));
    else if (rc < 0)
        judge(probe, false, 0, "TLS: %s", vf_error_name(rc));
}

static void begin_tls(struct vf_probe *probe)
{
    size_t ahead = probe->plan.preamble_len;
    probe->state = VF_PROBE_SHAKING_HANDS;
    int rc = probe->plan.secure(probe->owner, &probe->stream);
    if (rc == 0 && ahead > 0)
        rc = vf_tls_send_ahead(&probe->stream, probe->plan.question, ahead);
    probe->sent = ahead;
    if (rc < 0)
        judge(probe, false, 0, "TLS: %s", vf_error_name(rc));
    else
        shake_hands(probe);
}

static void finish_connecting(struct vf_probe *probe, uint32_t events)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(probe->stream.io.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (error == 0 && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0)
        return;
    if (error == 0 && is_to_itself(probe->stream.io.fd))
        error = ECONNREFUSED;
    if (error != 0) {
        judge(probe, false, 0, "connect: %s", vf_error_name(uv_translate_sys_error(error)));
        return;
    }
    probe->state = VF_PROBE_ASKING;
    if (probe->plan.n_ranges > 0 && probe->plan.secure != NULL) {
        begin_tls(probe);
        return;
    }
    if (probe->plan.n_ranges > 0)
        return;
    send_question(probe); /* the preamble, best effort */
    judge(probe, true, 0, "connected");
}

static void on_ready(struct vf_io *io, uint32_t events)
{
    struct vf_probe *probe = (struct vf_probe *)(void *)io;
    if (probe->state == VF_PROBE_CONNECTING)
        finish_connecting(probe, events);
    else if (probe->state == VF_PROBE_SHAKING_HANDS) {
        probe->stream.blocked = false;
        shake_hands(probe);
    }
    if (probe->stream.io.fd >= 0 && probe->state == VF_PROBE_ASKING)
        send_question(probe);
    if (probe->stream.io.fd < 0 || probe->state <= VF_PROBE_SHAKING_HANDS)
        return;
    while (read_more(probe))
        ;
}

/* Returns how much of its time is left, in nanoseconds; what this process lost is not counted. */
static uint64_t time_left_ns(const struct vf_probe *probe)
{
    uint64_t lost_ns = vf_stall_total_ns(probe->stall) - probe->stall_at_start_ns;
    uint64_t due_ns = probe->started_ns + probe->plan.timeout_ms * 1000000 + lost_ns;
    uint64_t now_ns = vf_clock_ns();
    return due_ns > now_ns ? due_ns - now_ns : 0;
}

static uint32_t poll_now(const struct vf_probe *probe)
{
    bool wants_out = probe->state <= VF_PROBE_ASKING;
    struct pollfd item = {.fd = probe->stream.io.fd, .events = POLLIN | (wants_out ? POLLOUT : 0)};
    return poll(&item, 1, 0) > 0 ? (uint32_t)item.revents : 0; /* POLL* and EPOLL* are equal */
}

static void judge_timeout(struct vf_probe *probe)
{
    uint64_t ms = probe->plan.timeout_ms;
    bool is_whole = ms % 1000 == 0;
    judge(probe, false, 0, "timeout after %" PRIu64 "%s", is_whole ? ms / 1000 : ms,
          is_whole ? "s" : "ms");
}

static void on_time_up(struct vf_timer *timer)
{
    struct vf_probe *probe =
        (struct vf_probe *)(void *)((char *)timer - offsetof(struct vf_probe, timer));
    uint64_t left_ns = time_left_ns(probe);
    if (left_ns > 0) {
        vf_reactor_timer(probe->reactor, timer, left_ns / 1000000 + 1);
        return;
    }
    if (probe->is_judged) {
        close_probe(probe);
        return;
    }
    uint32_t events = probe->had_grace ? 0 : poll_now(probe);
    if (events == 0) {
        judge_timeout(probe);
        return;
    }
    probe->had_grace = true;
    vf_reactor_timer(probe->reactor, timer, GRACE_MS);
    on_ready(&probe->stream.io, events);
}

int vf_probe_start(struct vf_probe *probe, struct vf_reactor *reactor, const struct vf_stall *stall,
                   const struct vf_probe_events *events, void *owner)
{
    const struct sockaddr *address = (const struct sockaddr *)&probe->plan.address;
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return uv_translate_sys_error(errno);
    *probe = (struct vf_probe){.stream = {.io = {.fd = fd, .on_ready = on_ready}},
                               .timer = {.on_fire = on_time_up},
                               .reactor = reactor,
                               .stall = stall,
                               .events = events,
                               .owner = owner,
                               .plan = probe->plan,
                               .started_ns = vf_clock_ns(),
                               .stall_at_start_ns = vf_stall_total_ns(stall)};
    int rc = connect(fd, address, probe->plan.address_len) < 0 && errno != EINPROGRESS
                 ? uv_translate_sys_error(errno)
                 : 0;
    if (rc < 0) {
        judge(probe, false, 0, "connect: %s", vf_error_name(rc));
        return 0;
    }
    if ((rc = vf_reactor_add(reactor, &probe->stream.io)) < 0) {
        close(fd);
        probe->stream.io.fd = -1;
        return rc;
    }
    vf_reactor_timer(reactor, &probe->timer, probe->plan.timeout_ms);
    return 0;
}

void vf_probe_stop(struct vf_probe *probe)
{
    vf_reactor_timer_stop(probe->reactor, &probe->timer);
    if (probe->stream.io.fd >= 0 && !vf_stream_is_plain(&probe->stream))
        vf_stream_drop_transport(&probe->stream);
    vf_reactor_close(probe->reactor, &probe->stream.io);
}
