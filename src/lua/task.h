/* lua/task.h - tasks: Lua coroutines that may wait. An exchange's plugins run in one, a timer or
 * a queue of a plugin in another. All tasks of a Lua state run on its loop's thread, one at a
 * time.
 *
 *   IDLE -> RUNNING -> WAITING -> READY -> RUNNING -> ... -> IDLE
 *
 * C enters Lua only by resuming a task, from the loop, never from inside an FFI call. A binding
 * whose operation takes time registers it (vf_task_wait_for); its Lua then yields
 * (runtime/task.lua: wait), and vf_task_wake makes the task run on, after the event under way. A
 * task that is ended while it waits has its operation cancelled, is resumed once with an error,
 * and is cut off if it waits again. Coroutines are recycled: each function that C starts is the
 * first on the stack of its coroutine, so that its compiled code ends where C goes on. */
#ifndef VF_LUA_TASK_H
#define VF_LUA_TASK_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct lua_State;
struct vf_exchange;
struct vf_guards;
struct vf_proxy;
struct vf_sockets;
struct vf_task;

enum vf_task_state { VF_TASK_IDLE = 0, VF_TASK_RUNNING, VF_TASK_WAITING, VF_TASK_READY };

/* How a stretch of a task ended. */
enum vf_task_outcome {
    VF_TASK_DONE = 0, /* the function returned */
    VF_TASK_WAITS,
    VF_TASK_EXITS,  /* yielded for good: the function does not go on (pdk.response.exit) */
    VF_TASK_FAILED, /* raised; the message is in tasks->message */
    VF_TASK_CANCELLED
};

/* What Lua sees of the task that runs; one for each Lua state, at a fixed address. Mirrored by
 * lua/veloflux/runtime/task.lua. */
struct vf_run {
    struct vf_task *task;   /* NULL between tasks */
    struct vf_exchange *ex; /* of the task, or NULL */
    uint32_t context;       /* number of the task's values in Lua, from 1 */
    uint32_t phase;         /* enum vf_phase */
    uint32_t plugin;        /* state slot of the plugin that runs + 1; 0: none, core code */
    uint32_t instance;      /* number of its instance in this process, see runtime/chain.lua */
    uint64_t
        entered_ns;    /* when the handler call, or its stretch after a wait, began; 0: none runs */
    uint64_t spent_ns; /* by the handler call, in its stretches before */
    uint64_t begun_ns; /* when the handler call began; what it waits counts */
    uint64_t left_ns;  /* when the one before was left, as entered_ns; 0: not just now */
    uint64_t waited;   /* how often the handler call has waited */
    uint32_t cut;      /* 1: over its time, being cut off; 2: over its memory, to be told */
    uint32_t cancelled;  /* 1: the task has been ended: no more waiting */
    uint32_t has_values; /* 1: the task has values in Lua (pdk.ctx), dropped with it */
    uint32_t identified; /* 1: the chain has to be resolved anew, the consumer is known now */
};

struct vf_tasks {
    struct vf_run run; /* first member */
    struct lua_State *lua;
    uv_loop_t *loop;
    struct vf_guards *guards; /* lua/guard.h; NULL: unbounded */
    struct vf_proxy *proxy;   /* whose events the tasks follow; flushed after tasks have run */
    struct vf_task *free;
    struct vf_task *ready, **ready_end;
    struct vf_task *all; /* busy ones */
    uv_idle_t *idle;     /* runs while a task is READY */
    /* registry references of what runtime/task.lua has: functions, tables by context */
    int run_spawned, fault, coroutines, values;
    uint32_t n_contexts, n_tasks, n_free;
    bool is_closing;
    char message[512];          /* of the last failure */
    struct vf_sockets *sockets; /* what bindings of the network use: see lua/network.h */
    /* A plugin, given by its state slot, has left a socket open; may be NULL. */
    void (*on_left_open)(struct vf_tasks *tasks, uint32_t plugin);
    void (*on_switch)(
        struct vf_tasks *tasks); /* run.* is about to be used by another task; may be NULL */
};

/* Something that ends with a task, see vf_task_own. Embedded; on_task_end is set by its owner. */
struct vf_task_thing {
    struct vf_task_thing *next, **at; /* among those of the task; at is NULL: of none */
    struct vf_task *task;
    /* The task is given back; `was_cut`: it was cancelled, or failed. Not called in Lua. */
    void (*on_task_end)(struct vf_task_thing *thing, struct vf_task *task, bool was_cut);
};

/* Called when a task that was WAITING has run on to `outcome`, not for the stretch that
 * vf_task_run began: that returns its outcome. The task may be given back in it, unless it WAITS.
 */
typedef void (*vf_task_callback)(struct vf_task *task, enum vf_task_outcome outcome, void *owner);

/* Prepares tasks for `lua`, which has loaded veloflux.runtime.task. Returns 0 or UV_E*. */
int vf_tasks_init(struct vf_tasks *tasks, struct lua_State *lua, uv_loop_t *loop);

/* Ends all tasks: each waiting one is cancelled, and its callback called. */
void vf_tasks_stop(struct vf_tasks *tasks);

/* Frees the tasks, none of which waits; the idle handle closes. */
void vf_tasks_deinit(struct vf_tasks *tasks);

/* Runs tasks that were woken. Called after every event of the loop's sockets and timers. */
void vf_tasks_run_ready(struct vf_tasks *tasks);

/* Takes a task for `ex` (may be NULL). Returns NULL when out of memory. */
struct vf_task *vf_task_take(struct vf_tasks *tasks, struct vf_exchange *ex,
                             vf_task_callback on_outcome, void *owner);

/* Gives a task back that is not waiting (else cancel it first). */
void vf_task_give(struct vf_task *task);

/* Runs the function `ref` of the registry with one number in a task that is IDLE, as `phase`.
 * Returns its outcome: DONE, WAITS, EXITS or FAILED. */
enum vf_task_outcome vf_task_run(struct vf_task *task, int ref, double argument, uint32_t phase);

/* Ends the stretch that waits: cancels what it waits for and raises `why` in it, once. The
 * callback is not called. The task is IDLE afterwards. */
void vf_task_cancel(struct vf_task *task, const char *why);

struct vf_exchange *vf_task_exchange(const struct vf_task *task);
struct vf_tasks *vf_task_tasks(const struct vf_task *task);

/* For bindings, through FFI. */

/* The task that runs waits for `op` from its next yield on. on_cancel(op) is called once if the
 * task ends first: `op` must not wake it then, and frees what it holds. */
void vf_task_wait_for(struct vf_task *task, void *op, void (*on_cancel)(void *op));

/* What the task waits for has happened: it runs on soon, never inside this call. Before its
 * yield: the yield does not happen. */
void vf_task_wake(struct vf_task *task);

/* Lua asks before it yields: 1 when what it would wait for has happened already. */
int vf_task_was_woken(struct vf_task *task);

/* Ties `thing` to the task until that is given back, or vf_task_disown. */
void vf_task_own(struct vf_task *task, struct vf_task_thing *thing);
void vf_task_disown(struct vf_task_thing *thing);

/* Ends a task soon, as vf_task_cancel does, but never inside this call: `why`, a string constant,
 * is raised in it once, from the run queue. Nothing happens to the one that runs. */
void vf_task_end(struct vf_task *task, const char *why);

/* Starts a new task in the background: runs the Lua function that runtime/task.lua keeps as number
 * `key`. The plugin that runs owns it. Returns 0 or UV_ENOMEM. */
int vf_task_spawn(struct vf_run *run, double key);

#endif
