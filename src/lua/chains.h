/* lua/chains.h - the chains of a process: which functions run in each phase of an exchange. One is
 * built on first use and kept by its hash for as long as the published snapshot or an exchange has
 * it, so a snapshot with the same chains builds nothing. */
#ifndef VF_LUA_CHAINS_H
#define VF_LUA_CHAINS_H

#include <stdbool.h>
#include <stdint.h>

#include "snapshot/layout.h"

struct lua_State;
struct vf_snapshot;

/* A built chain: the Lua function of each phase. */
struct vf_chain {
    struct vf_chain *next;
    uint64_t hash;
    uint32_t refs;            /* exchanges, and the published snapshot */
    uint32_t phases;          /* bit 1 << enum vf_phase */
    int functions[VF_PHASES]; /* registry references, LUA_NOREF where there is none */
};

/* Leaves a table of functions by enum vf_phase on the Lua stack; or returns false. */
typedef bool (*vf_chain_builder)(void *owner, const struct vf_snapshot *snapshot, uint32_t index);

enum { VF_CHAIN_BUCKETS = 1024 };

struct vf_chains {
    struct lua_State *lua;
    vf_chain_builder build;
    void *owner;                                /* its first argument */
    struct vf_snapshot *snapshot;               /* published, or NULL */
    struct vf_chain **by_index;                 /* of the snapshot's chains; NULL: not used yet */
    struct vf_chain *buckets[VF_CHAIN_BUCKETS]; /* all that live, by hash */
};

/* Prepares *chains, zeroed, for `lua`, which is borrowed. */
void vf_chains_init(struct vf_chains *chains, struct lua_State *lua, vf_chain_builder build,
                    void *owner);

/* Goes on with another snapshot, which is retained, and keeps the chains that it has, too. */
void vf_chains_follow(struct vf_chains *chains, struct vf_snapshot *snapshot);

/* The chain at `index` of `snapshot`. The caller gets a reference. NULL: it cannot be built, or has
 * gone with its snapshot, which is not published any more. */
struct vf_chain *vf_chains_take(struct vf_chains *chains, const struct vf_snapshot *snapshot,
                                uint32_t index);

/* Gives a reference back; NULL is left alone. */
void vf_chains_give(struct vf_chains *chains, struct vf_chain *chain);

/* Lets go of the snapshot and its chains; those of exchanges go with them. */
void vf_chains_deinit(struct vf_chains *chains);

#endif
