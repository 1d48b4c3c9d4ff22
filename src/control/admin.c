#include "control/admin.h"

#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/spool.h"
#include "control/admin_message.h"
#include "control/channels.h"
#include "control/passwords.h"
#include "control/websocket.h"
#include "lua/task.h"
#include "proxy/downstream.h"
#include "proxy/exchange.h"
#include "proxy/proxy.h"
#include "snapshot/snapshot.h"
#include "snapshot/state.h"

enum {
    SPOOL_BYTES = 1024 * 1024,   /* content above, or of unknown length, that may go to a file */
    TICK_MS = 2000,              /* between two samples of the rates */
    TYPE_CDATA = LUA_TTHREAD + 2 /* lua_type of what LuaJIT's FFI makes */
};

/* A request that Lua has not answered yet. */
struct pending {
    struct pending *next;
    struct vf_exchange *ex; /* valid until answered or gone */
    lua_Number id;
};

struct vf_admin {
    uv_loop_t *loop;
    struct vf_state *state;
    struct vf_proxy *proxy;
    struct vf_channels *channels; /* the control process frees it last */
    struct vf_snapshot *snapshot; /* retained; NULL before the first */
    struct vf_tasks *tasks;
    lua_State *lua;
    int module; /* reference to veloflux.admin */
    struct pending *pending;
    lua_Number last_id;
    int depth; /* callbacks of the proxy that are on the stack */
    struct vf_passwords passwords;
    uv_timer_t *tick; /* frees itself when closed */
};

/* --- Into Lua --- */

/* Pushes the function `name` of veloflux.admin above a traceback handler. */
static void push_function(struct vf_admin *admin, const char *name)
{
    lua_State *lua = admin->lua;
    lua_getglobal(lua, "debug");
    lua_getfield(lua, -1, "traceback");
    lua_remove(lua, -2);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, admin->module);
    lua_getfield(lua, -1, name);
    lua_remove(lua, -2);
}

/* Calls what push_function and `n_args` pushes prepared. Returns 0, or UV_EIO when it raised. */
static int call(struct vf_admin *admin, const char *name, int n_args)
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

static struct pending **find_pending(struct vf_admin *admin, const struct vf_exchange *ex,
                                     lua_Number id)
{
    struct pending **at = &admin->pending;
    while (*at != NULL && (*at)->ex != ex && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

/* Takes a request off the list. Returns its exchange, or NULL. */
static struct vf_exchange *take_pending(struct vf_admin *admin, const struct vf_exchange *ex,
                                        lua_Number id)
{
    struct pending **at = find_pending(admin, ex, id);
    struct pending *pending = *at;
    if (pending == NULL)
        return NULL;
    struct vf_exchange *found = pending->ex;
    *at = pending->next;
    free(pending);
    return found;
}

static void answer_error(struct vf_exchange *ex)
{
    vf_exchange_problem(ex, 500, "internal_error", "The request could not be answered.");
}

/* Opens the file for the content. Returns false when the request was answered instead. */
static bool open_spool(struct vf_exchange *ex, const char *folder, struct vf_spool **out)
{
    int rc = vf_spool_new(folder, VF_SPOOL_IN, out);
    if (rc == 0)
        return true;
    ex->close_client = true;
    if (rc == -EBUSY) {
        vf_exchange_problem(ex, 503, "unavailable",
                            "Other requests with much content are under way; try again.");
    } else {
        vf_log_error(NULL, "admin.spool_failed", "folder=%s err=%s", folder, strerror(-rc));
        vf_exchange_problem(ex, 507, "insufficient_storage",
                            "There is no room on the disk for the content of this request.");
    }
    return false;
}

/* Asks content_rule(method, path, is_named) of veloflux.admin for the limit in bytes and, where
 * more than a little goes to a file, its folder. */
static bool on_content(void *owner, struct vf_exchange *ex, struct vf_body_rule *rule)
{
    struct vf_admin *admin = owner;
    lua_State *lua = admin->lua;
    bool is_local = ex->client->conn->peer.family == VF_FAMILY_NONE;
    int top = lua_gettop(lua);
    push_function(admin, "content_rule");
    lua_pushlstring(lua, ex->request.method_name.data, ex->request.method_name.len);
    lua_pushlstring(lua, ex->path.text.data, ex->path.text.len);
    lua_pushboolean(lua, is_local ||
                             vf_fields_find(&ex->request.fields, VF_STR("authorization")) != NULL);
    bool goes_on = lua_pcall(lua, 3, 2, top + 1) == 0;
    if (!goes_on) {
        vf_log_error(NULL, "admin.lua_error", "call=content_rule err=%s", lua_tostring(lua, -1));
        answer_error(ex);
    } else {
        const char *folder = lua_tostring(lua, -1);
        rule->max_bytes = (uint64_t)lua_tonumber(lua, -2);
        bool is_large = ex->request.framing == VF_FRAMING_CHUNKED ||
                        (ex->request.content_length > SPOOL_BYTES &&
                         ex->request.content_length <= rule->max_bytes);
        if (folder != NULL && is_large)
            goes_on = open_spool(ex, folder, &rule->spool);
    }
    lua_settop(lua, top);
    return goes_on;
}

static void on_request(void *owner, struct vf_exchange *ex)
{
    struct vf_admin *admin = owner;
    struct pending *pending = malloc(sizeof(*pending));
    if (pending == NULL || !lua_checkstack(admin->lua, 16)) {
        free(pending);
        answer_error(ex);
        return;
    }
    lua_Number id = ++admin->last_id;
    *pending = (struct pending){admin->pending, ex, id};
    admin->pending = pending;
    admin->depth++;
    push_function(admin, "handle");
    lua_pushnumber(admin->lua, id);
    vf_admin_push_request(admin->lua, ex);
    int rc = call(admin, "handle", 2);
    struct vf_exchange *left = rc < 0 ? take_pending(admin, NULL, id) : NULL;
    if (left != NULL)
        answer_error(left);
    admin->depth--;
}

static void on_gone(void *owner, struct vf_exchange *ex)
{
    struct vf_admin *admin = owner;
    if (ex->tunnel != NULL) {
        admin->depth++;
        vf_websocket_on_gone(ex->tunnel);
        admin->depth--;
        return;
    }
    struct pending *pending = *find_pending(admin, ex, -1);
    if (pending == NULL)
        return;
    lua_Number id = pending->id;
    take_pending(admin, ex, id);
    admin->depth++;
    push_function(admin, "gone");
    lua_pushnumber(admin->lua, id);
    call(admin, "gone", 1);
    admin->depth--;
}

/* --- WebSocket clients --- */

static void on_tunnel_data(void *owner, struct vf_exchange *ex, struct vf_str slice)
{
    (void)owner;
    vf_websocket_on_data(ex->tunnel, slice);
}

static void on_tunnel_end(void *owner, struct vf_exchange *ex)
{
    (void)owner;
    vf_websocket_on_end(ex->tunnel);
}

static void on_tunnel_drained(void *owner, struct vf_exchange *ex)
{
    (void)owner;
    vf_websocket_on_drained(ex->tunnel);
}

/* --- From Lua --- */

/* Returns the spool that a pointer of LuaJIT's FFI, which lua.h does not know, points at. */
static struct vf_spool *spool_at(lua_State *lua, int index)
{
    return *(struct vf_spool *const *)lua_topointer(lua, index);
}

/* respond(id, status, headers, body): answers a request; nothing when its client is gone. The body
 * is a text, or a pointer to a struct vf_spool, which is ours from here on. */
static int native_respond(lua_State *lua)
{
    struct vf_admin *admin = lua_touserdata(lua, lua_upvalueindex(1));
    lua_Number id = luaL_checknumber(lua, 1);
    uint32_t status = (uint32_t)luaL_checkinteger(lua, 2);
    size_t len = 0;
    struct vf_spool *spool = lua_type(lua, 4) == TYPE_CDATA ? spool_at(lua, 4) : NULL;
    const char *body = spool == NULL ? luaL_checklstring(lua, 4, &len) : NULL;
    struct vf_exchange *ex = take_pending(admin, NULL, id);
    if (ex == NULL) {
        vf_spool_free(spool);
        return 0;
    }
    struct vf_fields fields = {0};
    struct vf_str content_type = {0};
    vf_admin_read_headers(lua, 3, ex, &fields, &content_type);
    vf_fields_add(&fields, &ex->arena, VF_STR("X-Request-Id"), ex->request_id);
    if (spool != NULL)
        vf_exchange_answer_spool(ex, status, content_type, spool, &fields);
    else
        vf_exchange_answer(ex, status, content_type, vf_str_make(body, len), &fields);
    if (admin->depth == 0 && admin->tasks->run.task == NULL) /* else it follows */
        vf_proxy_flush(admin->proxy);
    return 0;
}

/* upgrade(id, client, headers, max_message): makes a WebSocket client of the number `client` of a
 * request. Returns true; false when it is gone already; nil and a message when that fails: the
 * request is still to be answered. */
static int native_upgrade(lua_State *lua)
{
    struct vf_admin *admin = lua_touserdata(lua, lua_upvalueindex(1));
    struct pending *pending = *find_pending(admin, NULL, luaL_checknumber(lua, 1));
    double client = luaL_checknumber(lua, 2);
    uint64_t max_message = (uint64_t)luaL_checknumber(lua, 4);
    if (pending == NULL) {
        lua_pushboolean(lua, false);
        return 1;
    }
    struct vf_exchange *ex = pending->ex;
    struct vf_fields fields = {0};
    struct vf_str content_type = {0};
    vf_admin_read_headers(lua, 3, ex, &fields, &content_type);
    vf_fields_add(&fields, &ex->arena, VF_STR("X-Request-Id"), ex->request_id);
    int rc = vf_channels_open(admin->channels, ex, client, &fields, max_message);
    if (rc < 0) {
        lua_pushnil(lua);
        lua_pushstring(lua, uv_strerror(rc));
        return 2;
    }
    take_pending(admin, ex, -1);
    if (admin->depth == 0)
        vf_proxy_flush(admin->proxy);
    lua_pushboolean(lua, vf_channels_has(admin->channels, client));
    return 1;
}

static void on_verified(void *owner, double token, bool is_right)
{
    struct vf_admin *admin = owner;
    push_function(admin, "verified");
    lua_pushnumber(admin->lua, token);
    lua_pushboolean(admin->lua, is_right);
    call(admin, "verified", 2);
}

/* verify(token, encoded, password) -> true and later a call of verified(token, is_right); false
 * when too many are under way. */
static int native_verify(lua_State *lua)
{
    struct vf_admin *admin = lua_touserdata(lua, lua_upvalueindex(1));
    double token = luaL_checknumber(lua, 1);
    struct vf_str encoded, password;
    encoded.data = luaL_checklstring(lua, 2, &encoded.len);
    password.data = luaL_checklstring(lua, 3, &password.len);
    lua_pushboolean(lua, vf_passwords_verify(&admin->passwords, token, encoded, password));
    return 1;
}

/* --- Life --- */

static void on_tick(uv_timer_t *timer)
{
    struct vf_admin *admin = timer->data;
    push_function(admin, "tick");
    call(admin, "tick", 0);
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

static void add_native(struct vf_admin *admin, const char *name, lua_CFunction function)
{
    lua_pushlightuserdata(admin->lua, admin);
    lua_pushcclosure(admin->lua, function, 1);
    lua_setfield(admin->lua, -2, name);
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
    push_function(admin, "start");
    lua_createtable(lua, 0, 8);
    add_native(admin, "respond", native_respond);
    add_native(admin, "verify", native_verify);
    add_native(admin, "upgrade", native_upgrade);
    vf_channels_push(admin->channels);
    lua_pushlightuserdata(lua, admin->state);
    return call(admin, "start", 2);
}

int vf_admin_new(uv_loop_t *loop, struct vf_state *state, int block, struct vf_tasks *tasks,
                 struct vf_admin **out)
{
    struct vf_admin *admin = calloc(1, sizeof(*admin));
    if (admin == NULL)
        return UV_ENOMEM;
    const struct vf_handler handler = {.owner = admin,
                                       .on_content = on_content,
                                       .on_request = on_request,
                                       .on_gone = on_gone,
                                       .on_tunnel_data = on_tunnel_data,
                                       .on_tunnel_end = on_tunnel_end,
                                       .on_tunnel_drained = on_tunnel_drained};
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
    push_function(admin, "published");
    lua_pushlightuserdata(admin->lua, snapshot);
    if (usage != NULL)
        lua_pushlightuserdata(admin->lua, (void *)usage);
    else
        lua_pushnil(admin->lua);
    call(admin, "published", 2);
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
    push_function(admin, "drain");
    call(admin, "drain", 0);
    if (admin->snapshot == NULL)
        on_drained(owner);
    else
        vf_proxy_drain(admin->proxy, on_drained, owner);
}

static void on_tick_closed(uv_handle_t *handle)
{
    free(handle);
}

void vf_admin_free(struct vf_admin *admin)
{
    if (admin == NULL)
        return;
    if (admin->tick != NULL)
        uv_close((uv_handle_t *)admin->tick, on_tick_closed);
    vf_channels_stop(admin->channels);
    vf_proxy_free(admin->proxy); /* tells on_gone about what is pending */
    vf_passwords_deinit(&admin->passwords);
    while (admin->pending != NULL)
        take_pending(admin, admin->pending->ex, -1);
    luaL_unref(admin->lua, LUA_REGISTRYINDEX, admin->module);
    vf_snapshot_release(&admin->snapshot);
    free(admin);
}
