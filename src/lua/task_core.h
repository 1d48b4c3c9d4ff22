/* lua/task_core.h - a task inside: what task.c (their life, and what is tied to them) and
 * task_run.c (running and waiting) share. */
#ifndef VF_LUA_TASK_CORE_H
#define VF_LUA_TASK_CORE_H

#include <stdbool.h>

#include "lua/task.h"

struct vf_task {
    struct vf_tasks *tasks;
    struct vf_task *next, *prev; /* among the busy ones, or next in the free list */
    struct vf_task *next_ready;
    struct lua_State *co; /* NULL: not made yet */
    enum vf_task_state state;
    struct vf_run run; /* what tasks->run is while it runs */
    vf_task_callback on_outcome;
    void *owner;
    void *op;
    void (*on_cancel)(void *op);
    struct vf_task_thing *things;
    double spawn_key;
    const char *ending; /* READY, to be raised in it: see vf_task_end */
    bool was_woken;     /* before it yielded */
    bool is_spawned;    /* gives itself back at its end */
    bool starts_ready;  /* READY without having run: begins with run_spawned */
    bool was_cut;       /* cancelled, or failed */
};

/* As vf_task_take, but the coroutine may not be there yet: nothing of Lua is called. */
struct vf_task *vf_task_take_bare(struct vf_tasks *tasks, struct vf_exchange *ex,
                                  vf_task_callback on_outcome, void *owner);

/* Makes the coroutine of a task that has none. Not to be called in Lua: without memory, or for the
 * collector, LuaJIT would leave the function of Lua that is under way. Returns false when out of
 * memory. */
bool vf_task_has_coroutine(struct vf_task *task);

#endif
