/* lua/embedded.h - the Lua modules and assets that the binary carries.
 * The build generates the table from lua/ and plugins/ (scripts/embed.sh), so a running node needs
 * no file of ours on disk. Static data: never freed, NUL-terminated behind `len`. */
#ifndef VF_LUA_EMBEDDED_H
#define VF_LUA_EMBEDDED_H

#include <stddef.h>

/* Names by where the file stands:
 *   lua/veloflux/model/schema.lua     "veloflux.model.schema"
 *   lua/veloflux/pdk/init.lua         "veloflux.pdk"
 *   lua/veloflux/admin/status.html    "asset:veloflux/admin/status.html"
 *   plugins/cors/handler.lua          "veloflux.plugins.cors.handler"
 *   plugins/dashboard/page.html       "asset:veloflux/plugins/dashboard/page.html"
 *   src/snapshot/layout.h             "asset:src/snapshot/layout.h", which Lua declares to FFI */
struct vf_embedded {
    const char *name;
    const char *data;
    size_t len; /* bytes, without the NUL */
};

/* Sorted by name in byte order, so a lookup may bisect. */
extern const struct vf_embedded vf_embedded_lua[];
extern const size_t vf_embedded_lua_count;

#endif
