/* lua/guard.h - what a plugin's handler may use, and what becomes of one that errs: its running
 * time is measured and bounded, the memory of the Lua state is bounded, errors are counted, and
 * an instance that errs too often is tripped: left out for a while.
 *
 * Time is bounded by a timer on the thread's processor time, whose signal costs nothing while Lua
 * is idle: when the same handler has run for longer than it may, a count hook is set, which
 * raises in every instruction of the plugin's own code (a pcall of the plugin's is of no use)
 * until the handler is left. Compiled loops look for hooks because LuaJIT is built with
 * LUAJIT_ENABLE_CHECKHOOK; see docs/decisions. What does not return from one C call is the
 * heartbeat's business: the process's block says which plugin runs (phase_owner).
 *
 * Who goes beyond the memory limit gets an error by the same hook, once each time: between two
 * instructions, where LuaJIT can bear it. It cannot everywhere: what is refused while it leaves
 * compiled code ends the process. So an allocation itself is refused further on only. */
#ifndef VF_LUA_GUARD_H
#define VF_LUA_GUARD_H

#include <signal.h>
#include <stddef.h>
#include <time.h>

#include "base/str.h"
#include "lua/task.h"
#include "snapshot/layout.h"

struct vf_state;
struct vf_state_block;

/* One instance of a plugin in this process; in Lua's memory. Mirrored by runtime/chain.lua. */
struct vf_guard {
    uint32_t slot;     /* of the plugin, in the state area */
    uint32_t number;   /* of the instance in this process, from 1 */
    uint32_t n_errors; /* in the window that began at window_ns */
    uint32_t reserved;
    uint64_t window_ns;
    uint64_t tripped_until_ns; /* left out until then; 0: not tripped */
    struct vf_str label;       /* the instance's name; Lua keeps the text */
};

/* The bounds of one Lua state. Embedded by its owner. */
struct vf_guards {
    struct vf_guards *next; /* of this process */
    struct vf_tasks *tasks;
    struct vf_state *state;
    struct vf_state_block *block;
    struct vf_snap_plugin_limits limits;
    timer_t timer;
    bool has_timer;
    void *(*allocate)(void *ud, void *block, size_t old_size, size_t new_size); /* LuaJIT's own */
    void *allocate_ud;
    size_t used_bytes;
    size_t base_bytes;     /* what the state holds besides plugins: the limit comes on top */
    size_t left_bytes;     /* what it held when plugins ran last */
    size_t core_bytes;     /* what core code may use, in a state without base_bytes */
    bool in_plugin;        /* they do */
    uint64_t collected_ns; /* when the whole heap was collected because of its size */
    bool is_full;          /* that was of no use: it was in use */
};

/* Bounds `tasks` and its Lua state; all of a process are on one thread. Returns 0 or UV_E*. */
int vf_guards_init(struct vf_guards *guards, struct vf_tasks *tasks, struct vf_state *state,
                   struct vf_state_block *block);
void vf_guards_deinit(struct vf_guards *guards);

/* Uses other limits from here on. */
void vf_guards_limit(struct vf_guards *guards, const struct vf_snap_plugin_limits *limits);

/* For a state that has more to do than to run plugins: the memory limit comes on top of what it
 * uses now, and of what grows from here on while no plugin runs; it is the plugins' alone. */
void vf_guards_rebase(struct vf_guards *guards);

/* Collects garbage when the heap comes near its limit; once a second where there is none. Called
 * where Lua is not running. */
void vf_guards_tidy(struct vf_guards *guards);

/* Through FFI, around each call of a handler. enter returns 0 when the instance is left out. It
 * begins where the handler before ended (run->left_ns), unless that is set to 0: whoever has done
 * something of its own in between does so. */
int vf_guard_enter(struct vf_run *run, struct vf_guard *guard);
void vf_guard_leave(struct vf_run *run, struct vf_guard *guard);

/* The handler just left has raised. Returns 1 when that trips the instance. */
int vf_guard_error(struct vf_run *run, struct vf_guard *guard);

/* What the Lua state uses, through FFI. */
struct vf_memory_view {
    uint64_t lua_bytes, lua_limit; /* limit: UINT64_MAX is off */
    uint32_t worker;
    int64_t pid;
};
void vf_guard_memory(struct vf_run *run, struct vf_memory_view *out);

/* The state area, and the block that this process has in it, through FFI. */
struct vf_state *vf_guard_state(struct vf_run *run);
struct vf_state_block *vf_guard_block(struct vf_run *run);

#endif
