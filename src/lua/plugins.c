#include "lua/plugins.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/log.h"
#include "lua/plugins_core.h"
#include "lua/state.h"
#include "net/socket.h"
#include "snapshot/snapshot.h"

enum {
    LEAST_SOCKETS = 256, /* of plugins; more where there are descriptors */
    SOCKET_SHARE = 4,    /* one in so many descriptors */
    DRAIN_POLL_MS = 10
};

/* Calls into runtime/plugins.lua */

static int with_traceback(lua_State *lua)
{
    luaL_traceback(lua, lua, lua_tostring(lua, 1), 1);
    return 1;
}

/* Calls the function `ref` with `snapshot` and a number; leaves n_results. Returns false with a
 * message on the stack. */
static bool call(struct vf_plugins *plugins, int ref, const struct vf_snapshot *snapshot,
                 double number, int n_results)
{
    lua_State *lua = plugins->lua;
    lua_pushcfunction(lua, with_traceback);
    int handler = lua_gettop(lua);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, ref);
    lua_pushlightuserdata(lua, (void *)(uintptr_t)snapshot);
    lua_pushnumber(lua, number);
    int rc = lua_pcall(lua, 2, n_results, handler);
    lua_remove(lua, handler);
    return rc == 0;
}

static int function_ref(lua_State *lua, const char *name)
{
    lua_getfield(lua, -1, name);
    return luaL_ref(lua, LUA_REGISTRYINDEX);
}

static int load_runtime(struct vf_plugins *plugins)
{
    lua_State *lua = plugins->lua;
    lua_pushcfunction(lua, with_traceback);
    lua_getglobal(lua, "require");
    lua_pushliteral(lua, "veloflux.runtime.plugins");
    if (lua_pcall(lua, 1, 1, -3) != 0) {
        vf_log_error(NULL, "plugins.failed", "error=%s", lua_tostring(lua, -1));
        return UV_EIO;
    }
    plugins->prepare = function_ref(lua, "prepare");
    plugins->publish = function_ref(lua, "publish");
    plugins->build = function_ref(lua, "build");
    plugins->dispatch = function_ref(lua, "dispatch");
    plugins->drain = function_ref(lua, "drain");
    plugins->pending = function_ref(lua, "pending");
    lua_settop(lua, 0);
    return 0;
}

/* Leaves the functions of a chain, by phase, on the stack. */
static bool build_chain(void *owner, const struct vf_snapshot *snapshot, uint32_t index)
{
    struct vf_plugins *plugins = owner;
    if (call(plugins, plugins->build, snapshot, index, 1))
        return true;
    vf_log_error(NULL, "plugins.chain_failed", "error=%s", lua_tostring(plugins->lua, -1));
    lua_pop(plugins->lua, 1);
    return false;
}

/* The network */

static void on_left_open(struct vf_tasks *tasks, uint32_t slot)
{
    struct vf_plugins *plugins = (struct vf_plugins *)tasks;
    uint64_t bit = UINT64_C(1) << slot % 64;
    if (slot >= VF_STATE_PLUGINS || (plugins->left_open[slot / 64] & bit) != 0)
        return;
    plugins->left_open[slot / 64] |= bit;
    uint32_t n = vf_snap_count(plugins->chains.snapshot, VF_SNAP_PLUGINS);
    for (uint32_t i = 0; i < n; i++) {
        const struct vf_snap_plugin *plugin = vf_snap_plugin(plugins->chains.snapshot, i);
        struct vf_str name = vf_snap_str(plugins->chains.snapshot, plugin->name);
        if (plugin->slot == slot)
            vf_log_warn(NULL, "socket.left_open", "plugin=%.*s", (int)name.len, name.data);
    }
}

/* Clients come first: plugins have a share of the descriptors. */
static uint32_t socket_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
        return UINT16_MAX;
    rlim_t share = limit.rlim_cur / SOCKET_SHARE;
    return share < LEAST_SOCKETS ? LEAST_SOCKETS
           : share > UINT16_MAX  ? UINT16_MAX
                                 : (uint32_t)share;
}

/* Draining */

static double pending_items(struct vf_plugins *plugins, bool is_last)
{
    if (!call(plugins, plugins->pending, NULL, is_last, 1)) {
        vf_log_error(NULL, "plugins.drain_failed", "error=%s", lua_tostring(plugins->lua, -1));
        lua_pop(plugins->lua, 1);
        return 0;
    }
    double items = lua_tonumber(plugins->lua, -1);
    lua_pop(plugins->lua, 1);
    return items;
}

double vf_plugins_pending(struct vf_plugins *plugins)
{
    return pending_items(plugins, false);
}

static void on_drain_timer(struct vf_timer *timer)
{
    struct vf_plugins *plugins =
        (struct vf_plugins *)((char *)timer - offsetof(struct vf_plugins, drain_timer));
    bool is_last = vf_reactor_now_ms(plugins->proxy->reactor) >= plugins->drain_end_ms;
    if (pending_items(plugins, is_last) > 0 && !is_last)
        vf_reactor_timer(plugins->proxy->reactor, timer, DRAIN_POLL_MS);
    else
        plugins->on_shipped(plugins->shipped_owner);
}

void vf_plugins_drain(struct vf_plugins *plugins)
{
    if (plugins == NULL || call(plugins, plugins->drain, NULL, 0, 0))
        return;
    vf_log_error(NULL, "plugins.drain_failed", "error=%s", lua_tostring(plugins->lua, -1));
    lua_pop(plugins->lua, 1);
}

void vf_plugins_finish(struct vf_plugins *plugins, void (*on_shipped)(void *owner), void *owner)
{
    plugins->on_shipped = on_shipped;
    plugins->shipped_owner = owner;
    plugins->drain_timer.on_fire = on_drain_timer;
    plugins->drain_end_ms = vf_reactor_now_ms(plugins->proxy->reactor) + VF_PLUGINS_DRAIN_MS;
    vf_reactor_timer(plugins->proxy->reactor, &plugins->drain_timer, 0);
}

/* Life */

int vf_plugins_new(uv_loop_t *loop, struct vf_proxy *proxy, struct vf_state *state, int block,
                   struct vf_plugins **out)
{
    struct vf_plugins *plugins = calloc(1, sizeof(*plugins));
    if (plugins == NULL)
        return UV_ENOMEM;
    int rc = vf_lua_new(&plugins->lua);
    if (rc < 0) {
        free(plugins);
        return rc;
    }
    plugins->proxy = proxy;
    if ((rc = vf_tasks_init(&plugins->tasks, plugins->lua, loop)) < 0)
        goto fail;
    plugins->tasks.proxy = proxy;
    plugins->tasks.on_left_open = on_left_open;
    if ((rc = vf_sockets_new(&proxy->net, proxy->resolver, socket_limit(),
                             &plugins->tasks.sockets)) < 0 ||
        (rc = vf_guards_init(&plugins->guards, &plugins->tasks, state, &state->blocks[block])) <
            0 ||
        (rc = load_runtime(plugins)) < 0)
        goto fail;
    vf_chains_init(&plugins->chains, plugins->lua, build_chain, plugins);
    vf_plugin_runs_join(plugins, proxy);
    *out = plugins;
    return 0;

fail:
    vf_guards_deinit(&plugins->guards);
    lua_close(plugins->lua);
    vf_sockets_free(plugins->tasks.sockets);
    free(plugins);
    return rc;
}

int vf_plugins_prepare(struct vf_plugins *plugins, const struct vf_snapshot *snapshot, char *fault,
                       size_t fault_bytes)
{
    lua_State *lua = plugins->lua;
    bool ok = call(plugins, plugins->prepare, snapshot, 0, 1);
    ok = ok && lua_isnil(lua, -1); /* else what is wrong */
    if (!ok)
        snprintf(fault, fault_bytes, "%s", lua_tostring(lua, -1));
    lua_pop(lua, 1);
    return ok ? 0 : UV_EINVAL;
}

void vf_plugins_publish(struct vf_plugins *plugins, struct vf_snapshot *snapshot)
{
    vf_chains_follow(&plugins->chains, snapshot);
    vf_guards_limit(&plugins->guards, &vf_snap_settings(snapshot)->plugin_limits);
    if (!call(plugins, plugins->publish, snapshot, 0, 0)) {
        vf_log_error(NULL, "plugins.publish_failed", "error=%s", lua_tostring(plugins->lua, -1));
        lua_pop(plugins->lua, 1);
    }
}

void vf_plugins_stop(struct vf_plugins *plugins)
{
    if (plugins == NULL)
        return;
    vf_tasks_stop(&plugins->tasks);
    vf_reactor_timer_stop(plugins->proxy->reactor, &plugins->drain_timer);
    vf_sockets_free(plugins->tasks.sockets); /* they stand on the proxy's loop */
    plugins->tasks.sockets = NULL;
}

void vf_plugins_free(struct vf_plugins *plugins)
{
    if (plugins == NULL)
        return;
    vf_tasks_deinit(&plugins->tasks);
    vf_chains_deinit(&plugins->chains);
    vf_plugin_runs_free(plugins);
    vf_guards_deinit(&plugins->guards);
    lua_close(plugins->lua);
    free(plugins);
}
