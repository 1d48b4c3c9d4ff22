/* control/channels.h - what lua/veloflux/channels has of C: its clients (control/websocket.h) and
 * the time. A table of functions for Lua, and calls of the functions of the same names as the
 * events of websocket.h. One per process. */
#ifndef VF_CONTROL_CHANNELS_H
#define VF_CONTROL_CHANNELS_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct lua_State;
struct vf_channels;
struct vf_exchange;
struct vf_fields;
struct vf_proxy;
struct vf_websockets;

/* Makes it. `module` is a reference to the Lua module whose functions channel_message(id, text,
 * is_binary), channel_writable(id) -> text or nil, channel_pong(id), channel_closed(id) and
 * channel_tick() are called; it and `lua` outlive vf_channels_stop. Returns 0 or UV_E*. */
int vf_channels_new(uv_loop_t *loop, struct vf_proxy *proxy, struct lua_State *lua, int module,
                    struct vf_channels **out);

/* Adds to the table on top of the stack of `lua`: send_soon(id), ping(id), close(id, code, reason),
 * cut(id), wake(seconds): channel_tick is called once, so much later; and the number client_limit:
 * clients that there are descriptors for. */
void vf_channels_push(struct vf_channels *channels);

/* Opens a client: see vf_websocket_open. */
int vf_channels_open(struct vf_channels *channels, struct vf_exchange *ex, double id,
                     const struct vf_fields *fields, uint64_t max_message);

/* Returns true while there is a client of this number. */
bool vf_channels_has(struct vf_channels *channels, double id);

/* Closes all clients at once. The memory goes with vf_channels_free, when the loop has run dry.
 * NULL is allowed for both. */
void vf_channels_stop(struct vf_channels *channels);
void vf_channels_free(struct vf_channels *channels);

#endif
