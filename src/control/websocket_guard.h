/* control/websocket_guard.h - judges what a WebSocket client sends before libwebsockets sees it.
 * libwebsockets 4.1 takes frames that a server has to refuse: unmasked ones, lengths longer than
 * written in the shortest way, close codes that nobody may send (RFC 6455 sections 5.1, 5.2, 7.4).
 * The guard reads headers and close frames only; payload passes as it came. Where a frame breaks a
 * rule, a close frame with the code for it takes its place: libwebsockets answers that as it would
 * the client's own, and the connection ends. Nothing behind it passes.
 * Arithmetic on bytes: no sockets, no memory of its own. */
#ifndef VF_CONTROL_WEBSOCKET_GUARD_H
#define VF_CONTROL_WEBSOCKET_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    VF_WS_CLOSE_NORMAL = 1000,
    VF_WS_CLOSE_GOING_AWAY = 1001,
    VF_WS_CLOSE_PROTOCOL = 1002,
    VF_WS_CLOSE_NO_STATUS = 1005, /* never sent: a close frame without a code */
    VF_WS_CLOSE_ABNORMAL = 1006,  /* never sent: no close frame at all */
    VF_WS_CLOSE_INVALID = 1007,   /* text that is no UTF-8 */
    VF_WS_CLOSE_POLICY = 1008,
    VF_WS_CLOSE_TOO_LARGE = 1009,

    VF_WS_CONTROL_BYTES = 125,                   /* payload of a control frame, at most */
    VF_WS_HELD_BYTES = 14 + VF_WS_CONTROL_BYTES, /* a header, or a whole close frame */
    VF_WS_GUARD_MORE = 2 * VF_WS_HELD_BYTES      /* what comes out, at most, beyond what went in */
};

/* header -> payload -> header ...;  a close frame, the client's or ours: over */
struct vf_websocket_guard {
    uint64_t max_message;   /* bytes of one message, all its fragments together */
    uint64_t payload_left;  /* of the frame that passes */
    uint64_t message_bytes; /* of the message so far */
    const char *why;        /* of a close frame of ours; static */
    uint64_t n_frames;      /* headers that were read */
    uint32_t n_held;
    uint32_t need;   /* bytes in `held` before something can be said */
    uint16_t code;   /* of the close frame; 0: not over */
    bool in_message; /* fragments are to follow */
    unsigned char held[VF_WS_HELD_BYTES];
};

/* Makes *guard for a connection that has just begun. `max_message` in bytes. */
void vf_websocket_guard_init(struct vf_websocket_guard *guard, uint64_t max_message);

/* Takes the next `len` bytes and writes what may go on to `out`, which has room for `len` +
 * VF_WS_GUARD_MORE. Returns how many that are. From guard->code on, which is not 0 then, everything
 * is dropped. */
size_t vf_websocket_guard_feed(struct vf_websocket_guard *guard, const char *data, size_t len,
                               char *out);

/* Ends it as if the client had sent a close frame with `code`, which has to be one that may be
 * sent. For faults that are found behind the guard. Returns as vf_websocket_guard_feed. */
size_t vf_websocket_guard_close(struct vf_websocket_guard *guard, uint16_t code, const char *why,
                                char *out);

#endif
