/* lua/ids.h - entity ids for Lua, which cannot sort 64-bit numbers fast. */
#ifndef VF_LUA_IDS_H
#define VF_LUA_IDS_H

#include <stddef.h>
#include <stdint.h>

/* Sorts `n_ids` ids upwards, in place. */
void vf_ids_sort(uint64_t *ids, size_t n_ids);

#endif
