/* kit/desk.h - control inside the command line, for the specs of plugins: the admin API, jobs and
 * channels of plugins, in a Lua state of their own, on the loop and the clocks of a gateway under
 * test (kit/kit.h). lua/veloflux/kit/desk is what runs in it: the code of control, with a store in
 * memory and nobody to connect to. */
#ifndef VF_KIT_DESK_H
#define VF_KIT_DESK_H

#include <uv.h>

struct vf_desk;
struct vf_proxy;
struct vf_snapshot;
struct vf_state;

/* Makes one, owned by the caller; its tasks use the network of `proxy`. Returns 0 or UV_E*. */
int vf_desk_new(uv_loop_t *loop, struct vf_proxy *proxy, struct vf_state *state,
                struct vf_desk **out);

/* Calls the function `name` of veloflux.kit.desk with a text. Returns what it returns, a text, or
 * NULL: it has raised, and vf_desk_fault says what; both are valid until the next call. */
const char *vf_desk_call(struct vf_desk *desk, const char *name, const char *text);
const char *vf_desk_fault(const struct vf_desk *desk);

/* The limits for plugins are those of `snapshot` from here on. Retains it. */
void vf_desk_publish(struct vf_desk *desk, struct vf_snapshot *snapshot);

/* Ends all tasks; before the proxy is freed. NULL does nothing. */
void vf_desk_stop(struct vf_desk *desk);

/* Frees it, once stopped; its handle closes on the loop. NULL does nothing. */
void vf_desk_free(struct vf_desk *desk);

#endif
