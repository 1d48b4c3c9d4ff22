/* checker/probe.h - one check of one address: a socket, a question, a judgement.
 *
 *   CONNECTING -> (TCP) judged
 *   CONNECTING -> (SHAKING_HANDS ->) ASKING -> ANSWER -> judged -> LINGERING -> closed
 *
 * An HTTP probe reads the rest of the answer after it has judged, within what is left of its time,
 * so that the backend sees an orderly end. */
#ifndef VF_CHECKER_PROBE_H
#define VF_CHECKER_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "checker/stall.h"
#include "checker/verdict.h"
#include "net/stream.h"

enum { VF_PROBE_RANGES = 8, VF_PROBE_ANSWER_BYTES = 4096 };

/* What to ask and what to expect. */
struct vf_probe_plan {
    struct sockaddr_storage address;
    socklen_t address_len;
    const char *question; /* bytes to send; the owner's, who keeps them until on_closed */
    size_t question_len;
    size_t preamble_len; /* of it: what goes in front of TLS */
    /* Puts TLS below the stream, which connects. NULL: plain. */
    int (*secure)(void *owner, struct vf_stream *stream);
    uint64_t timeout_ms;
    uint32_t n_ranges; /* 0: being connected is all */
    struct {
        uint16_t low, high;
    } ranges[VF_PROBE_RANGES]; /* expected status, inclusive */
};

enum vf_probe_state {
    VF_PROBE_CONNECTING = 0,
    VF_PROBE_SHAKING_HANDS,
    VF_PROBE_ASKING,
    VF_PROBE_ANSWER,
    VF_PROBE_LINGERING
};

struct vf_probe;

struct vf_probe_events {
    /* `is_connected` tells a backend that fails from one that cannot be reached. Called once,
     * unless the probe is stopped before; on_closed follows later, or at once after it. */
    void (*on_judged)(void *owner, const struct vf_check_result *result, bool is_connected);
    /* The socket is closed. The probe's memory is the owner's again once the event is over. */
    void (*on_closed)(void *owner);
};

/* Embedded in its owner, zeroed before its first use. */
struct vf_probe {
    struct vf_stream
        stream; /* first member; its transport is TLS, or NULL. Not watched as a stream:
                                our own on_ready is called */
    struct vf_timer timer;
    struct vf_reactor *reactor;
    const struct vf_stall *stall;
    const struct vf_probe_events *events;
    void *owner;
    struct vf_probe_plan plan;
    enum vf_probe_state state;
    bool is_judged, had_grace;
    size_t sent, answer_len, lingered;
    uint64_t started_ns, stall_at_start_ns;
    char answer[VF_PROBE_ANSWER_BYTES];
};

/* Starts a probe by probe->plan; the other fields are filled in. Returns 0, or UV_E* when no socket
 * can be had: nothing happens then. A refused connection is told by on_judged, possibly from within
 * this call. */
int vf_probe_start(struct vf_probe *probe, struct vf_reactor *reactor, const struct vf_stall *stall,
                   const struct vf_probe_events *events, void *owner);

/* Closes the socket; no event follows. */
void vf_probe_stop(struct vf_probe *probe);

/* Reads the status line at `data`. Returns the status, 0 when the line is not complete yet, or
 * VF_EMALFORMED (RFC 9112 section 4). */
int vf_probe_read_status(const char *data, size_t len);

/* Writes the ranges as "200,300-399" (NUL-terminated, cut to fit). */
void vf_probe_format_ranges(const struct vf_probe_plan *plan, char *out, size_t room);

#endif
