/* control/websocket.h - the WebSocket clients of the admin address, spoken to by libwebsockets.
 * The request for the upgrade was read and judged by our own codec. Here a pair of sockets is made:
 * libwebsockets adopts one end, with a request of ours in its read buffer, and speaks WebSocket on
 * it; the other end is relayed to the client's connection, which stays the proxy's. So the limits,
 * the drain and the transport (TLS) of the connection are the same as ever, and what the client
 * sends is judged first (control/websocket_guard.h). docs/decisions/0016-websocket.md says why.
 *
 *   client <-> proxy (tunnel) <-> guard, relay <-> socket pair <-> libwebsockets <-> events
 *
 * A client costs two descriptors besides its connection. Everything runs on the caller's loop.
 * libwebsockets is started with the first client. */
#ifndef VF_CONTROL_WEBSOCKET_H
#define VF_CONTROL_WEBSOCKET_H

#include <stdbool.h>
#include <uv.h>

#include "base/str.h"

struct vf_exchange;
struct vf_fields;
struct vf_proxy;
struct vf_websocket;
struct vf_websockets;

enum { VF_WEBSOCKET_REASON_BYTES = 120 /* of a close frame, at most */ };

/* What clients do. `id` is the number that vf_websocket_open was given. None is called within
 * vf_websocket_open or _send_soon, _ping, _close; on_closed and on_sent may be within
 * vf_websocket_cut and vf_websockets_stop. */
struct vf_websocket_events {
    void *owner; /* passed back as the first argument */
    /* A whole message; a text is valid UTF-8. Valid until the return. */
    void (*on_message)(void *owner, double id, struct vf_str message, bool is_binary);
    /* After _send_soon: a text can be sent now. Returns false when there is none; else sets *text,
     * which is valid until on_sent is called with *token. */
    bool (*on_writable)(void *owner, double id, struct vf_str *text, int *token);
    /* A text has left, or its client is gone. */
    void (*on_sent)(void *owner, int token);
    void (*on_pong)(void *owner, double id);
    /* It is gone: no event follows. */
    void (*on_closed)(void *owner, double id);
};

/* Makes the lot of them. `proxy` serves their connections and outlives vf_websockets_stop.
 * Returns 0 or UV_ENOMEM. */
int vf_websockets_new(uv_loop_t *loop, struct vf_proxy *proxy,
                      const struct vf_websocket_events *events, struct vf_websockets **out);

/* Closes all clients at once and what libwebsockets has on the loop. No event follows but
 * on_sent, within the call. */
void vf_websockets_stop(struct vf_websockets *all);

/* Frees the memory, after vf_websockets_stop and when the loop has run dry. NULL is allowed. */
void vf_websockets_free(struct vf_websockets *all);

/* Makes a client of a request that was handed to the handler: answers it with 101 and `fields`
 * (see vf_tunnel_begin). Messages may have `max_message` bytes. Returns 0; or UV_E*, and the
 * exchange is as it was: UV_EMFILE, UV_ENOMEM, UV_ENOSYS: libwebsockets does not work here
 * (logged). */
int vf_websocket_open(struct vf_websockets *all, struct vf_exchange *ex, double id,
                      const struct vf_fields *fields, uint64_t max_message);

/* Returns a client, or NULL: it is gone. */
struct vf_websocket *vf_websocket_find(struct vf_websockets *all, double id);

/* on_writable shall be called when a frame can be sent. */
void vf_websocket_send_soon(struct vf_websocket *client);

/* Sends a ping, soon. */
void vf_websocket_ping(struct vf_websocket *client);

/* Sends a close frame, soon, and waits some seconds for the client's. `reason` is cut where it is
 * too long. Nothing else is sent any more. */
void vf_websocket_close(struct vf_websocket *client, uint16_t code, struct vf_str reason);

/* Ends the connection at once, without a close frame. */
void vf_websocket_cut(struct vf_websocket *client, const char *reason);

/* From the proxy: bytes of the client of a tunnel, its end of file, it takes bytes again, it is
 * gone. */
void vf_websocket_on_data(struct vf_websocket *client, struct vf_str slice);
void vf_websocket_on_end(struct vf_websocket *client);
void vf_websocket_on_drained(struct vf_websocket *client);
void vf_websocket_on_gone(struct vf_websocket *client);

#endif
