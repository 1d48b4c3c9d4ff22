#include "lua/task.h"

#include <assert.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "lua/guard.h"
#include "proxy/proxy.h"
#include "snapshot/layout.h"

enum { SPARE_TASKS = 1024, RUNS_PER_TURN = 1024 };

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

/* Life */

static int load_runtime(struct vf_tasks *tasks)
{
    lua_State *lua = tasks->lua;
    lua_getglobal(lua, "require");
    lua_pushliteral(lua, "veloflux.runtime.task");
    if (lua_pcall(lua, 1, 1, 0) != 0) {
        vf_log_error(NULL, "lua.failed", "error=%s", lua_tostring(lua, -1));
        lua_pop(lua, 1);
        return UV_EIO;
    }
    lua_getfield(lua, -1, "init");
    lua_pushlightuserdata(lua, &tasks->run);
    lua_call(lua, 1, 0);
    lua_getfield(lua, -1, "coroutines");
    tasks->coroutines = luaL_ref(lua, LUA_REGISTRYINDEX);
    lua_getfield(lua, -1, "run_spawned");
    tasks->run_spawned = luaL_ref(lua, LUA_REGISTRYINDEX);
    lua_getfield(lua, -1, "fault");
    tasks->fault = luaL_ref(lua, LUA_REGISTRYINDEX);
    lua_getfield(lua, -1, "values");
    tasks->values = luaL_ref(lua, LUA_REGISTRYINDEX);
    lua_pop(lua, 1);
    return 0;
}

int vf_tasks_init(struct vf_tasks *tasks, struct lua_State *lua, uv_loop_t *loop)
{
    memset(tasks, 0, sizeof(*tasks));
    tasks->lua = lua;
    tasks->loop = loop;
    tasks->ready_end = &tasks->ready;
    int rc = load_runtime(tasks);
    if (rc < 0)
        return rc;
    if ((tasks->idle = malloc(sizeof(*tasks->idle))) == NULL)
        return UV_ENOMEM;
    uv_idle_init(loop, tasks->idle);
    tasks->idle->data = tasks;
    return 0;
}

/* Sets the entry of the task in a table of runtime/task.lua, by its context, to the value on top of
 * the stack, and pops that. */
static void set_entry(struct vf_task *task, int table)
{
    lua_State *lua = task->tasks->lua;
    lua_rawgeti(lua, LUA_REGISTRYINDEX, table);
    lua_insert(lua, -2);
    lua_rawseti(lua, -2, (int)task->run.context);
    lua_pop(lua, 1);
}

static void free_task(struct vf_task *task)
{
    lua_pushnil(task->tasks->lua);
    set_entry(task, task->tasks->coroutines);
    free(task);
}

static void on_idle_closed(uv_handle_t *handle)
{
    free(handle);
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

void vf_tasks_deinit(struct vf_tasks *tasks)
{
    while (tasks->free != NULL) {
        struct vf_task *next = tasks->free->next;
        free_task(tasks->free);
        tasks->free = next;
    }
    if (tasks->idle != NULL)
        uv_close((uv_handle_t *)tasks->idle, on_idle_closed);
    tasks->idle = NULL;
}

static struct vf_task *make_task(struct vf_tasks *tasks)
{
    struct vf_task *task = calloc(1, sizeof(*task));
    if (task == NULL)
        return NULL;
    task->tasks = tasks;
    task->run.context = ++tasks->n_contexts;
    task->co = lua_newthread(tasks->lua);
    set_entry(task, tasks->coroutines);
    return task;
}

struct vf_task *vf_task_take(struct vf_tasks *tasks, struct vf_exchange *ex,
                             vf_task_callback on_outcome, void *owner)
{
    struct vf_task *task = tasks->free;
    if (task != NULL) {
        tasks->free = task->next;
        tasks->n_free--;
    } else if ((task = make_task(tasks)) == NULL) {
        return NULL;
    }
    uint32_t context = task->run.context;
    task->run = (struct vf_run){.task = task, .ex = ex, .context = context};
    task->on_outcome = on_outcome;
    task->owner = owner;
    task->is_spawned = task->was_cut = false;
    task->prev = NULL;
    task->next = tasks->all;
    if (task->next != NULL)
        task->next->prev = task;
    tasks->all = task;
    tasks->n_tasks++;
    return task;
}

static void drop_values(struct vf_task *task)
{
    if (!task->run.has_values)
        return;
    lua_pushnil(task->tasks->lua);
    set_entry(task, task->tasks->values);
    task->run.has_values = 0;
}

void vf_task_own(struct vf_task *task, struct vf_task_thing *thing)
{
    thing->task = task;
    thing->at = &task->things;
    thing->next = task->things;
    if (thing->next != NULL)
        thing->next->at = &thing->next;
    task->things = thing;
}

void vf_task_disown(struct vf_task_thing *thing)
{
    if (thing->at == NULL)
        return;
    *thing->at = thing->next;
    if (thing->next != NULL)
        thing->next->at = thing->at;
    thing->at = NULL;
    thing->task = NULL;
}

static void end_things(struct vf_task *task)
{
    while (task->things != NULL) {
        struct vf_task_thing *thing = task->things;
        vf_task_disown(thing);
        thing->on_task_end(thing, task, task->was_cut);
    }
}

void vf_task_give(struct vf_task *task)
{
    struct vf_tasks *tasks = task->tasks;
    assert(task->state == VF_TASK_IDLE);
    end_things(task);
    drop_values(task);
    if (task->prev != NULL)
        task->prev->next = task->next;
    else
        tasks->all = task->next;
    if (task->next != NULL)
        task->next->prev = task->prev;
    tasks->n_tasks--;
    task->op = NULL;
    task->run.ex = NULL;
    if (tasks->n_free >= SPARE_TASKS) {
        free_task(task);
        return;
    }
    task->next = tasks->free;
    tasks->free = task;
    tasks->n_free++;
}

/* Running */

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
    if (outcome != VF_TASK_DONE)
        lua_resetthread(tasks->lua, task->co); /* the function under way is left for good */
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
    task->starts_ready = false;
    task->state = VF_TASK_IDLE;
    report(task, vf_task_run(task, task->tasks->run_spawned, task->spawn_key, VF_PHASE_TIMER));
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

enum vf_task_state vf_task_state(const struct vf_task *task)
{
    return task->state;
}

struct vf_exchange *vf_task_exchange(const struct vf_task *task)
{
    return task->run.ex;
}

void *vf_task_owner(const struct vf_task *task)
{
    return task->owner;
}

struct vf_tasks *vf_task_tasks(const struct vf_task *task)
{
    return task->tasks;
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
    struct vf_task *task = vf_task_take(tasks, NULL, NULL, NULL);
    if (task == NULL)
        return UV_ENOMEM;
    task->run.phase = VF_PHASE_TIMER;
    task->spawn_key = key;
    task->is_spawned = true;
    task->starts_ready = true;
    make_ready(task);
    return 0;
}
