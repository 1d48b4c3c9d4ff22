/* Running tasks: stretches between waits, the queue of those that were woken, early ends. */
#include <assert.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "lua/guard.h"
#include "lua/task_core.h"
#include "proxy/proxy.h"
#include "snapshot/layout.h"

enum { RUNS_PER_TURN = 1024 };

/* What is on top of Lua's stack was raised in the task. If it was in a handler, runtime/task.lua is
 * told, which looks at the coroutine as it was left. Returns true when that has seen to it. */
static bool is_explained(struct vf_task *task)
{
    struct vf_tasks *tasks = task->tasks;
    lua_State *lua = tasks->lua;
    int raised = lua_gettop(lua);
    if (tasks->run.instance == 0)
        return false;
    tasks->run.plugin = 0; /* what core code needs for it is not the plugin's memory */
    lua_rawgeti(lua, LUA_REGISTRYINDEX, tasks->fault);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, tasks->coroutines);
    lua_rawgeti(lua, -1, (int)task->run.context);
    lua_remove(lua, -2);
    lua_pushvalue(lua, raised);
    bool is_explained = lua_pcall(lua, 2, 1, 0) == 0 && lua_toboolean(lua, -1);
    lua_settop(lua, raised);
    return is_explained;
}

static enum vf_task_outcome fail(struct vf_tasks *tasks, const char *message)
{
    snprintf(tasks->message, sizeof(tasks->message), "%s",
             message != NULL ? message : "no message");
    return VF_TASK_FAILED;
}

/* What lua_resume has returned, in our terms; a message when it is a failure. */
static enum vf_task_outcome outcome_of(struct vf_task *task, int rc)
{
    struct vf_tasks *tasks = task->tasks;
    if (rc == 0)
        return VF_TASK_DONE;
    if (rc == LUA_YIELD) {
        enum vf_task_outcome outcome = (enum vf_task_outcome)lua_tointeger(task->co, -1);
        return outcome == VF_TASK_WAITS || outcome == VF_TASK_EXITS
                   ? outcome
                   : fail(tasks, "it yielded, with nothing to wait for");
    }
    lua_xmove(task->co, tasks->lua, 1);
    enum vf_task_outcome outcome =
        is_explained(task) ? VF_TASK_EXITS : fail(tasks, lua_tostring(tasks->lua, -1));
    lua_pop(tasks->lua, 1);
    return outcome;
}

/* Resumes the coroutine with the values on its stack. */
static enum vf_task_outcome step(struct vf_task *task, int n_values)
{
    struct vf_tasks *tasks = task->tasks;
    struct vf_run outer = tasks->run; /* a task may be cancelled while another one runs */
    task->state = VF_TASK_RUNNING;
    tasks->run = task->run;
    tasks->run.left_ns = 0;
    if (tasks->run.instance != 0)
        tasks->run.entered_ns = vf_clock_cost_ns();
    enum vf_task_outcome outcome = outcome_of(task, lua_resume(task->co, n_values));
    if (tasks->on_switch != NULL)
        tasks->on_switch(tasks);
    task->run = tasks->run;
    tasks->run = outer;
    if (outcome == VF_TASK_FAILED)
        task->was_cut = true;
    if (outcome == VF_TASK_DONE || outcome == VF_TASK_WAITS)
        lua_settop(task->co, 0);
    if (outcome == VF_TASK_WAITS && !task->run.cancelled) {
        task->run.waited++;
        task->state = VF_TASK_WAITING;
        return outcome;
    }
    if (outcome != VF_TASK_DONE) /* left for good; it is the first one's upvalues that are closed */
        lua_resetthread(task->co, task->co);
    task->run.plugin = task->run.instance = 0;
    task->state = VF_TASK_IDLE;
    task->op = NULL;
    return outcome;
}

enum vf_task_outcome vf_task_run(struct vf_task *task, int ref, double argument, uint32_t phase)
{
    assert(task->state == VF_TASK_IDLE);
    task->run.phase = phase;
    task->run.cancelled = 0;
    task->was_woken = false;
    lua_rawgeti(task->co, LUA_REGISTRYINDEX, ref);
    lua_pushnumber(task->co, argument);
    return step(task, 1);
}

/* A task that runs from the loop has come to an end of its stretch. */
static void report(struct vf_task *task, enum vf_task_outcome outcome)
{
    if (!task->is_spawned) {
        task->on_outcome(task, outcome, task->owner);
        return;
    }
    if (outcome == VF_TASK_FAILED)
        vf_log_error(NULL, "task.failed", "error=%s", task->tasks->message);
    if (outcome != VF_TASK_WAITS)
        vf_task_give(task);
}

static void begin_spawned(struct vf_task *task)
{
    struct vf_tasks *tasks = task->tasks;
    task->starts_ready = false;
    task->state = VF_TASK_IDLE;
    report(task, vf_task_has_coroutine(task)
                     ? vf_task_run(task, tasks->run_spawned, task->spawn_key, VF_PHASE_TIMER)
                     : fail(tasks, "out of memory"));
}

/* The task is IDLE afterwards: whatever it would wait for is refused. */
static enum vf_task_outcome raise_ending(struct vf_task *task)
{
    task->was_cut = true;
    task->run.cancelled = 1;
    lua_pushstring(task->co, task->ending);
    task->ending = NULL;
    step(task, 1);
    task->run.cancelled = 0;
    return VF_TASK_CANCELLED;
}

void vf_tasks_run_ready(struct vf_tasks *tasks)
{
    if (tasks->guards != NULL)
        vf_guards_tidy(tasks->guards);
    for (int i = 0; i < RUNS_PER_TURN && tasks->ready != NULL; i++) {
        struct vf_task *task = tasks->ready;
        tasks->ready = task->next_ready;
        if (tasks->ready == NULL)
            tasks->ready_end = &tasks->ready;
        if (task->starts_ready)
            begin_spawned(task);
        else
            report(task, task->ending != NULL ? raise_ending(task) : step(task, 0));
    }
    if (tasks->ready == NULL && !tasks->is_closing)
        uv_idle_stop(tasks->idle);
}

static void on_idle(uv_idle_t *idle)
{
    struct vf_tasks *tasks = idle->data;
    vf_tasks_run_ready(tasks);
    if (tasks->proxy != NULL)
        vf_proxy_flush(tasks->proxy);
}

static void make_ready(struct vf_task *task)
{
    struct vf_tasks *tasks = task->tasks;
    task->state = VF_TASK_READY;
    task->next_ready = NULL;
    *tasks->ready_end = task;
    tasks->ready_end = &task->next_ready;
    if (!tasks->is_closing)
        uv_idle_start(tasks->idle, on_idle); /* in case that no event follows */
}

static void forget_ready(struct vf_task *task)
{
    struct vf_task **at = &task->tasks->ready;
    while (*at != task)
        at = &(*at)->next_ready;
    *at = task->next_ready;
    if (*at == NULL)
        task->tasks->ready_end = at;
}

void vf_task_cancel(struct vf_task *task, const char *why)
{
    void *op = task->op;
    if (task->state == VF_TASK_IDLE || task->state == VF_TASK_RUNNING)
        return;
    task->was_cut = true;
    bool has_begun = !task->starts_ready;
    if (task->state == VF_TASK_READY)
        forget_ready(task);
    task->starts_ready = false;
    task->ending = NULL;
    task->op = NULL;
    if (task->state == VF_TASK_WAITING && op != NULL)
        task->on_cancel(op);
    task->state = VF_TASK_IDLE;
    if (!has_begun)
        return;
    task->run.cancelled = 1;
    lua_pushstring(task->co, why);
    step(task, 1);
    task->run.cancelled = 0;
}

/* For bindings */

void vf_task_wait_for(struct vf_task *task, void *op, void (*on_cancel)(void *op))
{
    task->op = op;
    task->on_cancel = on_cancel;
    task->was_woken = false;
}

void vf_task_wake(struct vf_task *task)
{
    task->op = NULL;
    if (task->state == VF_TASK_RUNNING)
        task->was_woken = true;
    else if (task->state == VF_TASK_WAITING)
        make_ready(task);
}

void vf_task_end(struct vf_task *task, const char *why)
{
    void *op = task->op;
    if (task->state == VF_TASK_IDLE || task->state == VF_TASK_RUNNING || task->starts_ready)
        return;
    task->ending = why;
    task->op = NULL;
    if (task->state != VF_TASK_WAITING)
        return;
    if (op != NULL)
        task->on_cancel(op);
    make_ready(task);
}

int vf_task_was_woken(struct vf_task *task)
{
    int was_woken = task->was_woken;
    task->was_woken = false;
    return was_woken;
}

int vf_task_spawn(struct vf_run *run, double key)
{
    struct vf_tasks *tasks = (struct vf_tasks *)run;
    struct vf_task *task = vf_task_take_bare(tasks, NULL, NULL, NULL);
    if (task == NULL)
        return UV_ENOMEM;
    task->run.phase = VF_PHASE_TIMER;
    task->spawn_key = key;
    task->is_spawned = true;
    task->starts_ready = true;
    make_ready(task);
    return 0;
}

void vf_tasks_stop(struct vf_tasks *tasks)
{
    tasks->is_closing = true;
    struct vf_task *task = tasks->all;
    while (task != NULL) {
        struct vf_task *next = task->next;
        bool was_busy = task->state != VF_TASK_IDLE;
        vf_task_cancel(task, "shutting down");
        if (was_busy && task->is_spawned)
            vf_task_give(task);
        else if (was_busy)
            task->on_outcome(task, VF_TASK_CANCELLED, task->owner);
        task = next;
    }
}
