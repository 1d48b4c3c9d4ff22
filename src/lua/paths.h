/* lua/paths.h - paths of requests for Lua: those of the conf file are judged as requests are. */
#ifndef VF_LUA_PATHS_H
#define VF_LUA_PATHS_H

#include <stddef.h>

/* Writes the normal form (http/target.h) of the path of `len` bytes to `out`, which has room for
 * `len` bytes. Returns its length, or a negated enum vf_target_fault. */
int vf_path_normal_form(const char *path, size_t len, char *out);

#endif
