/* control/websocket_parts.h - a WebSocket client inside: what websocket.c (its life, and what
 * others ask for), websocket_relay.c (bytes between the proxy and the socket pair) and
 * websocket_library.c (libwebsockets at the other end) share. Private to them. */
#ifndef VF_CONTROL_WEBSOCKET_PARTS_H
#define VF_CONTROL_WEBSOCKET_PARTS_H

#include <uv.h>

#include "control/websocket.h"
#include "control/websocket_guard.h"

enum {
    VF_WS_BUCKETS = 1024,
    VF_WS_PIECE_BYTES = 4096,     /* judged by the guard at once */
    VF_WS_RELAY_BYTES = 64 * 1024 /* read from libwebsockets at once */
};

struct lws;
struct lws_context;
struct lws_vhost;

/* Owned by its list; goes when the exchange, libwebsockets' end and the pipe have gone. */
struct vf_websocket {
    struct vf_websocket *next; /* in its bucket */
    struct vf_websockets *all;
    double id;
    struct vf_exchange *ex; /* NULL: gone */
    struct lws *wsi;        /* NULL: gone */
    uv_pipe_t pipe;         /* our end of the pair */
    struct vf_websocket_guard guard;
    uint64_t frames_due_ns; /* base/gcra.h: when the next frame is on schedule */
    char *message;          /* what has come of one; NULL: nothing */
    size_t message_len, message_room;
    struct vf_str sending; /* the owner's; data NULL: nothing */
    size_t sent;           /* bytes of it */
    int token;             /* of it */
    char reason[VF_WEBSOCKET_REASON_BYTES];
    size_t reason_len;
    uint16_t close_code; /* of a close frame of ours; 0: none */
    bool close_is_sent;
    bool ends_at_once; /* the client broke a rule: its close frame is not waited for */
    bool pipe_is_open;
    bool pipe_is_shut;   /* libwebsockets gets no more bytes */
    bool pipe_is_closed; /* its callback has run: the memory may go */
    bool is_known;       /* on_closed is due */
    bool wants_ping;
};

struct vf_websockets {
    uv_loop_t *loop;
    struct vf_proxy *proxy;
    struct vf_websocket_events events;
    struct vf_websocket *buckets[VF_WS_BUCKETS]; /* by id */
    struct vf_websocket *adopted;                /* whose end is being adopted, or NULL */
    struct lws_context *context;
    struct lws_vhost *vhost;
    bool has_failed; /* libwebsockets did not start */
    bool is_stopped;
    unsigned char *frame; /* LWS_PRE bytes, then what is being sent */
    size_t frame_room;
    char relay[VF_WS_RELAY_BYTES];
    char piece[VF_WS_PIECE_BYTES + VF_WS_GUARD_MORE];
};

/* websocket.c */

/* The text that is being sent is the owner's again; the client is closed, as its owner hears. */
void vf_websocket_forget_text(struct vf_websocket *client);
void vf_websocket_say_closed(struct vf_websocket *client);
void vf_websocket_free_when_gone(struct vf_websocket *client);

/* websocket_relay.c */

/* Begins to pass on what libwebsockets sends. */
void vf_websocket_relay(struct vf_websocket *client);
/* Nothing more goes to libwebsockets, which ends then. */
void vf_websocket_shut(struct vf_websocket *client);
/* Closes our end of the pair: libwebsockets notices. */
void vf_websocket_close_pipe(struct vf_websocket *client);

/* websocket_library.c */

/* Starts libwebsockets, once. Returns 0 or UV_ENOSYS. */
int vf_websocket_start_library(struct vf_websockets *all);
/* Closes what it has on the loop; the memory goes with the other, when the loop has run dry. */
void vf_websocket_stop_library(struct vf_websockets *all);
void vf_websocket_free_library(struct vf_websockets *all);
/* Gives it `fd`, which it owns from here on, and takes its 101 off `other`, the other end. Returns
 * 0 or UV_E*. */
int vf_websocket_adopt(struct vf_websocket *client, int fd, int other);
/* A frame may be sent soon: asks libwebsockets to say when. */
void vf_websocket_want_write(struct vf_websocket *client);

#endif
