#include "control/admin.h"

#include <lauxlib.h>
#include <stdlib.h>

#include "base/log.h"
#include "control/admin_core.h"
#include "control/channels.h"
#include "lua/task.h"
#include "snapshot/snapshot.h"

enum { TICK_MS = 2000 /* between two samples of the rates */ };

/* --- Into Lua --- */

void vf_admin_push_function(struct vf_admin *admin, const char *name)
{
    lua_State *lua = admin->lua;
    lua_getglobal(lua, "debug");
    lua_getfield(lua, -1, "traceback");
    lua_remove(lua, -2);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, admin->module);
    lua_getfield(lua, -1, name);
    lua_remove(lua, -2);
}

int vf_admin_call(struct vf_admin *admin, const char *name, int n_args)
{
    lua_State *lua = admin->lua;
    int handler = lua_gettop(lua) - n_args - 1;
    int rc = 0;
    if (lua_pcall(lua, n_args, 0, handler) != 0) {
        const char *message = lua_tostring(lua, -1);
        vf_log_error(NULL, "admin.lua_error", "call=%s err=%s", name,
                     message != NULL ? message : "?");
        rc = UV_EIO;
    }
    lua_settop(lua, handler - 1);
    return rc;
}

static void on_verified(void *owner, double token, bool is_right)
{
    struct vf_admin *admin = owner;
    vf_admin_push_function(admin, "verified");
    lua_pushnumber(admin->lua, token);
    lua_pushboolean(admin->lua, is_right);
    vf_admin_call(admin, "verified", 2);
}

/* verify(token, encoded, password) -> true and later a call of verified(token, is_right); false
 * when too many are under way, or it is stopped. */
static int native_verify(lua_State *lua)
{
    struct vf_admin *admin = lua_touserdata(lua, lua_upvalueindex(1));
    double token = luaL_checknumber(lua, 1);
    struct vf_str encoded, password;
    encoded.data = luaL_checklstring(lua, 2, &encoded.len);
    password.data = luaL_checklstring(lua, 3, &password.len);
    lua_pushboolean(lua, admin->proxy != NULL &&
                             vf_passwords_verify(&admin->passwords, token, encoded, password));
    return 1;
}

/* --- Life --- */

void vf_admin_add_native(struct vf_admin *admin, const char *name, lua_CFunction function)
{
    lua_pushlightuserdata(admin->lua, admin);
    lua_pushcclosure(admin->lua, function, 1);
    lua_setfield(admin->lua, -2, name);
}

static void on_tick(uv_timer_t *timer)
{
    struct vf_admin *admin = timer->data;
    vf_admin_push_function(admin, "tick");
    vf_admin_call(admin, "tick", 0);
}

static int start_tick(struct vf_admin *admin)
{
    if ((admin->tick = malloc(sizeof(*admin->tick))) == NULL)
        return UV_ENOMEM;
    uv_timer_init(admin->loop, admin->tick);
    admin->tick->data = admin;
    uv_timer_start(admin->tick, on_tick, TICK_MS, TICK_MS);
    uv_unref((uv_handle_t *)admin->tick);
    return 0;
}

static int load_module(struct vf_admin *admin)
{
    lua_State *lua = admin->lua;
    lua_getglobal(lua, "require");
    lua_pushliteral(lua, "veloflux.admin");
    if (lua_pcall(lua, 1, 1, 0) != 0) {
        vf_log_error(NULL, "admin.failed", "err=%s", lua_tostring(lua, -1));
        lua_pop(lua, 1);
        return UV_EIO;
    }
    admin->module = luaL_ref(lua, LUA_REGISTRYINDEX);
    return 0;
}

/* Calls start(native, state) of veloflux.admin. */
static int start_module(struct vf_admin *admin)
{
    lua_State *lua = admin->lua;
    vf_admin_push_function(admin, "start");
    lua_createtable(lua, 0, 8);
    vf_admin_add_native(admin, "verify", native_verify);
    vf_admin_add_natives(admin);
    vf_channels_push(admin->channels);
    lua_pushlightuserdata(lua, admin->state);
    return vf_admin_call(admin, "start", 2);
}

int vf_admin_new(uv_loop_t *loop, struct vf_state *state, int block, struct vf_tasks *tasks,
                 struct vf_admin **out)
{
    struct vf_admin *admin = calloc(1, sizeof(*admin));
    if (admin == NULL)
        return UV_ENOMEM;
    const struct vf_handler handler = vf_admin_handler(admin);
    admin->loop = loop;
    admin->state = state;
    admin->tasks = tasks;
    admin->lua = tasks->lua;
    admin->module = LUA_NOREF;
    vf_passwords_init(&admin->passwords, loop, on_verified, admin);
    int rc;
    if ((rc = load_module(admin)) < 0 ||
        (rc = vf_proxy_new(loop, state, block, &handler, &admin->proxy)) < 0 ||
        (rc = vf_channels_new(loop, admin->proxy, admin->lua, admin->module, &admin->channels)) <
            0 ||
        (rc = start_module(admin)) < 0 || (rc = start_tick(admin)) < 0) {
        vf_admin_stop(admin);
        vf_admin_free(admin);
        return rc;
    }
    *out = admin;
    return 0;
}

struct vf_channels *vf_admin_channels(struct vf_admin *admin)
{
    return admin->channels;
}

struct vf_proxy *vf_admin_proxy(struct vf_admin *admin)
{
    return admin->proxy;
}

void vf_admin_publish(struct vf_admin *admin, struct vf_snapshot *snapshot,
                      const struct vf_usage *usage)
{
    struct vf_snapshot *old = admin->snapshot;
    admin->snapshot = vf_snapshot_retain(snapshot);
    vf_proxy_publish(admin->proxy, snapshot);
    vf_admin_push_function(admin, "published");
    lua_pushlightuserdata(admin->lua, snapshot);
    if (usage != NULL)
        lua_pushlightuserdata(admin->lua, (void *)usage);
    else
        lua_pushnil(admin->lua);
    vf_admin_call(admin, "published", 2);
    vf_snapshot_release(&old);
}

int vf_admin_listen(struct vf_admin *admin, const char *name, int fd)
{
    return vf_proxy_listen(admin->proxy, vf_str_from(name), fd);
}

void vf_admin_unlisten(struct vf_admin *admin, int fd, bool drain_queue)
{
    admin->depth++;
    vf_proxy_unlisten(admin->proxy, fd, drain_queue);
    admin->depth--;
}

void vf_admin_drain(struct vf_admin *admin, void (*on_drained)(void *owner), void *owner)
{
    vf_admin_push_function(admin, "drain");
    vf_admin_call(admin, "drain", 0);
    if (admin->snapshot == NULL)
        on_drained(owner);
    else
        vf_proxy_drain(admin->proxy, on_drained, owner);
}

static void on_tick_closed(uv_handle_t *handle)
{
    free(handle);
}

void vf_admin_stop(struct vf_admin *admin)
{
    if (admin->tick != NULL)
        uv_close((uv_handle_t *)admin->tick, on_tick_closed);
    admin->tick = NULL;
    vf_channels_stop(admin->channels);
    vf_proxy_free(admin->proxy); /* tells on_gone about what is pending */
    admin->proxy = NULL;
    vf_passwords_deinit(&admin->passwords);
    vf_admin_drop_requests(admin);
    vf_snapshot_release(&admin->snapshot);
}

void vf_admin_free(struct vf_admin *admin)
{
    if (admin == NULL)
        return;
    luaL_unref(admin->lua, LUA_REGISTRYINDEX, admin->module);
    free(admin);
}
