#include "lua/chains.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>

#include "snapshot/snapshot.h"

void vf_chains_init(struct vf_chains *chains, struct lua_State *lua, vf_chain_builder build,
                    void *owner)
{
    chains->lua = lua;
    chains->build = build;
    chains->owner = owner;
}

void vf_chains_give(struct vf_chains *chains, struct vf_chain *chain)
{
    if (chain == NULL || --chain->refs > 0)
        return;
    struct vf_chain **at = &chains->buckets[chain->hash % VF_CHAIN_BUCKETS];
    while (*at != chain)
        at = &(*at)->next;
    *at = chain->next;
    for (int i = 0; i < VF_PHASES; i++)
        luaL_unref(chains->lua, LUA_REGISTRYINDEX, chain->functions[i]);
    free(chain);
}

static struct vf_chain *find(struct vf_chains *chains, uint64_t hash)
{
    struct vf_chain *chain = chains->buckets[hash % VF_CHAIN_BUCKETS];
    while (chain != NULL && chain->hash != hash)
        chain = chain->next;
    return chain;
}

/* Takes the functions off the stack. */
static void take_functions(struct vf_chains *chains, struct vf_chain *chain)
{
    lua_State *lua = chains->lua;
    for (int i = 0; i < VF_PHASES; i++) {
        lua_rawgeti(lua, -1, i);
        if (lua_isfunction(lua, -1)) {
            chain->functions[i] = luaL_ref(lua, LUA_REGISTRYINDEX);
        } else {
            chain->functions[i] = LUA_NOREF;
            lua_pop(lua, 1);
        }
    }
    lua_pop(lua, 1);
}

static struct vf_chain *make(struct vf_chains *chains, uint32_t index)
{
    const struct vf_snap_chain *record = vf_snap_chain(chains->snapshot, index);
    struct vf_chain *chain = calloc(1, sizeof(*chain));
    if (chain == NULL)
        return NULL;
    if (!chains->build(chains->owner, chains->snapshot, index)) {
        free(chain);
        return NULL;
    }
    chain->hash = record->hash;
    chain->phases = record->phases;
    take_functions(chains, chain);
    struct vf_chain **bucket = &chains->buckets[chain->hash % VF_CHAIN_BUCKETS];
    chain->next = *bucket;
    *bucket = chain;
    return chain;
}

static struct vf_chain *take_published(struct vf_chains *chains, uint32_t index)
{
    struct vf_chain *chain = chains->by_index[index];
    if (chain != NULL)
        return chain;
    chain = find(chains, vf_snap_chain(chains->snapshot, index)->hash);
    if (chain == NULL)
        chain = make(chains, index);
    if (chain == NULL)
        return NULL;
    chain->refs++; /* the snapshot's */
    chains->by_index[index] = chain;
    return chain;
}

struct vf_chain *vf_chains_take(struct vf_chains *chains, const struct vf_snapshot *snapshot,
                                uint32_t index)
{
    struct vf_chain *chain = snapshot == chains->snapshot
                                 ? take_published(chains, index)
                                 : find(chains, vf_snap_chain(snapshot, index)->hash);
    if (chain != NULL)
        chain->refs++;
    return chain;
}

static void drop_all(struct vf_chains *chains)
{
    uint32_t n = chains->snapshot != NULL ? vf_snap_count(chains->snapshot, VF_SNAP_CHAINS) : 0;
    for (uint32_t i = 0; i < n; i++)
        vf_chains_give(chains, chains->by_index[i]);
    free(chains->by_index);
    chains->by_index = NULL;
}

void vf_chains_follow(struct vf_chains *chains, struct vf_snapshot *snapshot)
{
    uint32_t n = vf_snap_count(snapshot, VF_SNAP_CHAINS);
    struct vf_chain **by_index = calloc(n + 1, sizeof(*by_index));
    if (by_index == NULL)
        abort(); /* the process is replaced, and begins with this snapshot */
    for (uint32_t i = 0; i < n; i++) {
        by_index[i] = find(chains, vf_snap_chain(snapshot, i)->hash);
        if (by_index[i] != NULL)
            by_index[i]->refs++;
    }
    drop_all(chains);
    vf_snapshot_release(&chains->snapshot);
    chains->snapshot = vf_snapshot_retain(snapshot);
    chains->by_index = by_index;
}

void vf_chains_deinit(struct vf_chains *chains)
{
    drop_all(chains);
    vf_snapshot_release(&chains->snapshot);
}
