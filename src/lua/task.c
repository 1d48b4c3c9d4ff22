#include "lua/task.h"

#include <assert.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "lua/task_core.h"

enum { SPARE_TASKS = 1024 };

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
    return task;
}

static int make_coroutine(lua_State *lua)
{
    struct vf_task *task = lua_touserdata(lua, 1);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, task->tasks->coroutines);
    lua_State *co = lua_newthread(lua);
    lua_rawseti(lua, -2, (int)task->run.context);
    task->co = co;
    return 0;
}

bool vf_task_has_coroutine(struct vf_task *task)
{
    lua_State *lua = task->tasks->lua;
    if (task->co == NULL && lua_cpcall(lua, make_coroutine, task) != 0)
        lua_pop(lua, 1); /* the message: there is no memory */
    return task->co != NULL;
}

struct vf_task *vf_task_take_bare(struct vf_tasks *tasks, struct vf_exchange *ex,
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

struct vf_task *vf_task_take(struct vf_tasks *tasks, struct vf_exchange *ex,
                             vf_task_callback on_outcome, void *owner)
{
    struct vf_task *task = vf_task_take_bare(tasks, ex, on_outcome, owner);
    if (task == NULL || vf_task_has_coroutine(task))
        return task;
    vf_task_give(task);
    return NULL;
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

struct vf_exchange *vf_task_exchange(const struct vf_task *task)
{
    return task->run.ex;
}

struct vf_tasks *vf_task_tasks(const struct vf_task *task)
{
    return task->tasks;
}
