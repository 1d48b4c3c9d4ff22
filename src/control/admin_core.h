/* control/admin_core.h - the admin address inside: what admin.c (its life) and admin_requests.c
 * (from requests to their answers) share. */
#ifndef VF_CONTROL_ADMIN_CORE_H
#define VF_CONTROL_ADMIN_CORE_H

#include <lua.h>
#include <uv.h>

#include "control/admin.h"
#include "control/passwords.h"
#include "proxy/proxy.h"

struct vf_admin_pending;

struct vf_admin {
    uv_loop_t *loop;
    struct vf_state *state;
    struct vf_proxy *proxy;       /* NULL: stopped */
    struct vf_channels *channels; /* the control process frees it last */
    struct vf_snapshot *snapshot; /* retained; NULL before the first */
    struct vf_tasks *tasks;
    lua_State *lua;
    int module;                       /* reference to veloflux.admin */
    struct vf_admin_pending *pending; /* requests that Lua has not answered yet */
    lua_Number last_id;
    int depth; /* callbacks of the proxy that are on the stack */
    struct vf_passwords passwords;
    uv_timer_t *tick; /* frees itself when closed */
};

/* Pushes the function `name` of veloflux.admin above a traceback handler. */
void vf_admin_push_function(struct vf_admin *admin, const char *name);

/* Calls what vf_admin_push_function and `n_args` pushes prepared. Returns 0, or UV_EIO when it
 * raised (logged). */
int vf_admin_call(struct vf_admin *admin, const char *name, int n_args);

/* Sets a field of the table on top of Lua's stack to a function of ours. */
void vf_admin_add_native(struct vf_admin *admin, const char *name, lua_CFunction function);

/* Adds `respond` and `upgrade`, by which Lua answers requests, to the table on top. */
void vf_admin_add_natives(struct vf_admin *admin);

/* Returns what takes the requests of the proxy. */
struct vf_handler vf_admin_handler(struct vf_admin *admin);

/* Forgets the requests that are not answered. */
void vf_admin_drop_requests(struct vf_admin *admin);

#endif
