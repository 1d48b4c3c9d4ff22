/* control/admin_message.h - requests and answers of the admin address as tables of Lua. */
#ifndef VF_CONTROL_ADMIN_MESSAGE_H
#define VF_CONTROL_ADMIN_MESSAGE_H

#include <lua.h>

struct vf_exchange;
struct vf_fields;
struct vf_str;

/* Pushes a table of the request of `ex`, whose content is there: method, path, query, host, body,
 * spool (a pointer, when the content is in a file: Lua's from here on), client, request_id,
 * is_local, http_minor, headers (by lower-case name; several of a name joined by commas). */
void vf_admin_push_request(lua_State *lua, struct vf_exchange *ex);

/* Reads the list {name, value, name, value, ...} at `index` into *fields, in the arena of `ex`;
 * takes Content-Type out of it, and Upgrade, whose line stands with Connection. What is no field is
 * left out: what came from a request must not add lines to the answer. */
void vf_admin_read_headers(lua_State *lua, int index, struct vf_exchange *ex,
                           struct vf_fields *fields, struct vf_str *content_type);

#endif
