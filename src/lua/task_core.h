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
    struct lua_State *co;
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

#endif
