#include "control/channels.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/log.h"
#include "control/websocket.h"

enum {
    STACK_SLOTS = 16,
    CLIENT_DESCRIPTORS = 3,    /* its connection, and a pair of sockets */
    RESERVED_DESCRIPTORS = 512 /* for everything else of the process */
};

struct vf_channels {
    lua_State *lua;
    int module;
    struct vf_websockets *websockets;
    uv_timer_t *timer; /* frees itself when closed */
};

/* Into Lua */

static void push_function(struct vf_channels *channels, const char *name)
{
    lua_State *lua = channels->lua;
    luaL_checkstack(lua, STACK_SLOTS, "channels");
    lua_getglobal(lua, "debug");
    lua_getfield(lua, -1, "traceback");
    lua_remove(lua, -2);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, channels->module);
    lua_getfield(lua, -1, name);
    lua_remove(lua, -2);
}

/* Calls what push_function and `n_args` pushes prepared. Leaves one result (nil when it raised). */
static void call(struct vf_channels *channels, const char *name, int n_args)
{
    lua_State *lua = channels->lua;
    int handler = lua_gettop(lua) - n_args - 1;
    if (lua_pcall(lua, n_args, 1, handler) != 0) {
        const char *message = lua_tostring(lua, -1);
        vf_log_error(NULL, "channels.lua_error", "call=%s err=%s", name,
                     message != NULL ? message : "?");
        lua_pop(lua, 1);
        lua_pushnil(lua);
    }
    lua_remove(lua, handler);
}

static void on_message(void *owner, double id, struct vf_str message, bool is_binary)
{
    struct vf_channels *channels = owner;
    push_function(channels, "channel_message");
    lua_pushnumber(channels->lua, id);
    lua_pushlstring(channels->lua, message.len > 0 ? message.data : "", message.len);
    lua_pushboolean(channels->lua, is_binary);
    call(channels, "channel_message", 3);
    lua_pop(channels->lua, 1);
}

static bool on_writable(void *owner, double id, struct vf_str *text, int *token)
{
    struct vf_channels *channels = owner;
    lua_State *lua = channels->lua;
    push_function(channels, "channel_writable");
    lua_pushnumber(lua, id);
    call(channels, "channel_writable", 1);
    if (lua_type(lua, -1) != LUA_TSTRING) {
        lua_pop(lua, 1);
        return false;
    }
    text->data = lua_tolstring(lua, -1, &text->len);
    *token = luaL_ref(lua, LUA_REGISTRYINDEX);
    return true;
}

static void on_sent(void *owner, int token)
{
    struct vf_channels *channels = owner;
    luaL_unref(channels->lua, LUA_REGISTRYINDEX, token);
}

static void call_with_id(struct vf_channels *channels, const char *name, double id)
{
    push_function(channels, name);
    lua_pushnumber(channels->lua, id);
    call(channels, name, 1);
    lua_pop(channels->lua, 1);
}

static void on_pong(void *owner, double id)
{
    call_with_id(owner, "channel_pong", id);
}

static void on_closed(void *owner, double id)
{
    call_with_id(owner, "channel_closed", id);
}

static void on_timer(uv_timer_t *timer)
{
    struct vf_channels *channels = timer->data;
    push_function(channels, "channel_tick");
    call(channels, "channel_tick", 0);
    lua_pop(channels->lua, 1);
}

/* From Lua */

static struct vf_channels *self(lua_State *lua)
{
    return lua_touserdata(lua, lua_upvalueindex(1));
}

/* The client that is the first argument, or NULL. */
static struct vf_websocket *client_of(lua_State *lua)
{
    return vf_websocket_find(self(lua)->websockets, luaL_checknumber(lua, 1));
}

static int native_send_soon(lua_State *lua)
{
    struct vf_websocket *client = client_of(lua);
    if (client != NULL)
        vf_websocket_send_soon(client);
    return 0;
}

static int native_ping(lua_State *lua)
{
    struct vf_websocket *client = client_of(lua);
    if (client != NULL)
        vf_websocket_ping(client);
    return 0;
}

static int native_close(lua_State *lua)
{
    struct vf_websocket *client = client_of(lua);
    int code = (int)luaL_checkinteger(lua, 2);
    size_t len;
    const char *reason = luaL_checklstring(lua, 3, &len);
    if (client != NULL)
        vf_websocket_close(client, (uint16_t)code, vf_str_make(reason, len));
    return 0;
}

static int native_cut(lua_State *lua)
{
    struct vf_websocket *client = client_of(lua);
    if (client != NULL)
        vf_websocket_cut(client, "websocket_cut");
    return 0;
}

static int native_wake(lua_State *lua)
{
    double seconds = luaL_checknumber(lua, 1);
    uv_timer_start(self(lua)->timer, on_timer, (uint64_t)(seconds * 1000), 0);
    return 0;
}

/* How many clients there are descriptors for. */
static double client_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur < 2 * RESERVED_DESCRIPTORS)
        return RESERVED_DESCRIPTORS / CLIENT_DESCRIPTORS;
    return (double)((limit.rlim_cur - RESERVED_DESCRIPTORS) / CLIENT_DESCRIPTORS);
}

void vf_channels_push(struct vf_channels *channels)
{
    static const luaL_Reg functions[] = {{"send_soon", native_send_soon}, {"ping", native_ping},
                                         {"close", native_close},         {"cut", native_cut},
                                         {"wake", native_wake},           {NULL, NULL}};
    for (const luaL_Reg *function = functions; function->name != NULL; function++) {
        lua_pushlightuserdata(channels->lua, channels);
        lua_pushcclosure(channels->lua, function->func, 1);
        lua_setfield(channels->lua, -2, function->name);
    }
    lua_pushnumber(channels->lua, client_limit());
    lua_setfield(channels->lua, -2, "client_limit");
}

int vf_channels_open(struct vf_channels *channels, struct vf_exchange *ex, double id,
                     const struct vf_fields *fields, uint64_t max_message)
{
    return vf_websocket_open(channels->websockets, ex, id, fields, max_message);
}

bool vf_channels_has(struct vf_channels *channels, double id)
{
    return vf_websocket_find(channels->websockets, id) != NULL;
}

/* Life */

int vf_channels_new(uv_loop_t *loop, struct vf_proxy *proxy, struct lua_State *lua, int module,
                    struct vf_channels **out)
{
    struct vf_channels *channels = calloc(1, sizeof(*channels));
    if (channels == NULL)
        return UV_ENOMEM;
    const struct vf_websocket_events events = {.owner = channels,
                                               .on_message = on_message,
                                               .on_writable = on_writable,
                                               .on_sent = on_sent,
                                               .on_pong = on_pong,
                                               .on_closed = on_closed};
    int rc = vf_websockets_new(loop, proxy, &events, &channels->websockets);
    if (rc < 0 || (channels->timer = malloc(sizeof(*channels->timer))) == NULL) {
        vf_websockets_free(channels->websockets);
        free(channels);
        return UV_ENOMEM;
    }
    channels->lua = lua;
    channels->module = module;
    uv_timer_init(loop, channels->timer);
    channels->timer->data = channels;
    *out = channels;
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle);
}

void vf_channels_stop(struct vf_channels *channels)
{
    if (channels == NULL || channels->timer == NULL)
        return;
    vf_websockets_stop(channels->websockets);
    uv_close((uv_handle_t *)channels->timer, on_timer_closed);
    channels->timer = NULL;
}

void vf_channels_free(struct vf_channels *channels)
{
    if (channels == NULL)
        return;
    vf_websockets_free(channels->websockets);
    free(channels);
}
