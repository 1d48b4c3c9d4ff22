#include "control/admin_message.h"

#include <lauxlib.h>
#include <stdbool.h>

#include "proxy/downstream.h"
#include "proxy/exchange.h"

static void set_text(lua_State *lua, const char *name, struct vf_str text)
{
    lua_pushlstring(lua, text.len > 0 ? text.data : "", text.len);
    lua_setfield(lua, -2, name);
}

/* Appends to a field of the table on top that is there already, joined by a comma. */
static void set_header(lua_State *lua, const struct vf_field *field)
{
    luaL_Buffer name;
    luaL_buffinit(lua, &name);
    for (size_t i = 0; i < field->name.len; i++)
        luaL_addchar(&name, vf_lower(field->name.data[i]));
    luaL_pushresult(&name);
    lua_pushvalue(lua, -1);
    lua_rawget(lua, -3);
    bool is_first = lua_isnil(lua, -1);
    if (is_first)
        lua_pop(lua, 1);
    else
        lua_pushliteral(lua, ", ");
    lua_pushlstring(lua, field->value.len > 0 ? field->value.data : "", field->value.len);
    if (!is_first)
        lua_concat(lua, 3);
    lua_rawset(lua, -3);
}

void vf_admin_push_request(lua_State *lua, struct vf_exchange *ex)
{
    const struct vf_fields *fields = &ex->request.fields;
    bool is_local = ex->client->conn->peer.family == VF_FAMILY_NONE;
    lua_createtable(lua, 0, 11);
    set_text(lua, "method", ex->request.method_name);
    set_text(lua, "path", ex->path.text);
    set_text(lua, "query", ex->target.query);
    set_text(lua, "host", ex->host);
    set_text(lua, "body", ex->request_body);
    if (ex->spool != NULL) {
        lua_pushlightuserdata(lua, ex->spool); /* Lua's from here on */
        lua_setfield(lua, -2, "spool");
        ex->spool = NULL;
    }
    set_text(lua, "client", is_local ? VF_STR("local") : ex->client_ip);
    set_text(lua, "request_id", ex->request_id);
    lua_pushboolean(lua, is_local);
    lua_setfield(lua, -2, "is_local");
    lua_pushinteger(lua, (lua_Integer)ex->request.version_minor);
    lua_setfield(lua, -2, "http_minor");
    lua_createtable(lua, 0, (int)fields->count);
    for (uint32_t i = 0; i < fields->count; i++)
        set_header(lua, &fields->list[i]);
    lua_setfield(lua, -2, "headers");
}

static struct vf_str copy_text(lua_State *lua, int index, struct vf_exchange *ex)
{
    size_t len;
    const char *text = lua_tolstring(lua, index, &len);
    char *kept = text != NULL ? vf_arena_strndup(&ex->arena, text, len) : NULL;
    return vf_str_make(kept != NULL ? kept : "", kept != NULL ? len : 0);
}

void vf_admin_read_headers(lua_State *lua, int index, struct vf_exchange *ex,
                           struct vf_fields *fields, struct vf_str *content_type)
{
    int n = lua_istable(lua, index) ? (int)lua_objlen(lua, index) : 0;
    for (int i = 1; i < n; i += 2) {
        lua_rawgeti(lua, index, i);
        lua_rawgeti(lua, index, i + 1);
        struct vf_str name = copy_text(lua, -2, ex), value = copy_text(lua, -1, ex);
        lua_pop(lua, 2);
        if (!vf_is_token(name) || !vf_is_field_value(value))
            continue; /* what came from a request must not add lines to the answer */
        if (vf_str_ieq(name, VF_STR("content-type")))
            *content_type = value;
        else if (vf_str_ieq(name, VF_STR("upgrade")))
            ex->response.connection_upgrade = value;
        else
            vf_fields_add(fields, &ex->arena, name, value);
    }
}
