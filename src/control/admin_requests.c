/* Requests of the admin address: their content, their way into Lua, and the answers. */
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/spool.h"
#include "control/admin_core.h"
#include "control/admin_message.h"
#include "control/channels.h"
#include "control/websocket.h"
#include "lua/task.h"
#include "proxy/downstream.h"
#include "proxy/exchange.h"

enum {
    SPOOL_BYTES = 1024 * 1024,   /* content above, or of unknown length, that may go to a file */
    TYPE_CDATA = LUA_TTHREAD + 2 /* lua_type of what LuaJIT's FFI makes */
};

/* A request that Lua has not answered yet. */
struct vf_admin_pending {
    struct vf_admin_pending *next;
    struct vf_exchange *ex; /* valid until answered or gone */
    lua_Number id;
};

static struct vf_admin_pending **find_pending(struct vf_admin *admin, const struct vf_exchange *ex,
                                              lua_Number id)
{
    struct vf_admin_pending **at = &admin->pending;
    while (*at != NULL && (*at)->ex != ex && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

/* Takes a request off the list. Returns its exchange, or NULL. */
static struct vf_exchange *take_pending(struct vf_admin *admin, const struct vf_exchange *ex,
                                        lua_Number id)
{
    struct vf_admin_pending **at = find_pending(admin, ex, id);
    struct vf_admin_pending *pending = *at;
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
    vf_admin_push_function(admin, "content_rule");
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
    struct vf_admin_pending *pending = malloc(sizeof(*pending));
    if (pending == NULL || !lua_checkstack(admin->lua, 16)) {
        free(pending);
        answer_error(ex);
        return;
    }
    lua_Number id = ++admin->last_id;
    *pending = (struct vf_admin_pending){admin->pending, ex, id};
    admin->pending = pending;
    admin->depth++;
    vf_admin_push_function(admin, "handle");
    lua_pushnumber(admin->lua, id);
    vf_admin_push_request(admin->lua, ex);
    int rc = vf_admin_call(admin, "handle", 2);
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
    struct vf_admin_pending *pending = *find_pending(admin, ex, -1);
    if (pending == NULL)
        return;
    lua_Number id = pending->id;
    take_pending(admin, ex, id);
    admin->depth++;
    vf_admin_push_function(admin, "gone");
    lua_pushnumber(admin->lua, id);
    vf_admin_call(admin, "gone", 1);
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
    struct vf_admin_pending *pending = *find_pending(admin, NULL, luaL_checknumber(lua, 1));
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

void vf_admin_add_natives(struct vf_admin *admin)
{
    vf_admin_add_native(admin, "respond", native_respond);
    vf_admin_add_native(admin, "upgrade", native_upgrade);
}

struct vf_handler vf_admin_handler(struct vf_admin *admin)
{
    return (struct vf_handler){.owner = admin,
                               .on_content = on_content,
                               .on_request = on_request,
                               .on_gone = on_gone,
                               .on_tunnel_data = on_tunnel_data,
                               .on_tunnel_end = on_tunnel_end,
                               .on_tunnel_drained = on_tunnel_drained};
}

void vf_admin_drop_requests(struct vf_admin *admin)
{
    while (admin->pending != NULL)
        take_pending(admin, admin->pending->ex, -1);
}
