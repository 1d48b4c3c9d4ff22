#include "lua/plugins.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/log.h"
#include "lua/guard.h"
#include "lua/plugin_run.h"
#include "lua/state.h"
#include "lua/task.h"
#include "net/socket.h"
#include "proxy/core.h"
#include "proxy/exchange.h"
#include "proxy/phases.h"
#include "snapshot/snapshot.h"
#include "snapshot/state.h"

enum {
    SPARE_RUNS = 1024,
    BUCKETS = 1024,
    LEAST_SOCKETS = 256, /* of plugins; more where there are descriptors */
    SOCKET_SHARE = 4,    /* one in so many descriptors */
    DRAIN_POLL_MS = 10
};

struct vf_plugins {
    struct vf_tasks tasks;
    struct vf_guards guards;
    struct vf_proxy *proxy;
    struct lua_State *lua;
    struct vf_snapshot *snapshot;     /* published, or NULL */
    struct vf_chain **by_index;       /* of the snapshot's chains; NULL: not used yet */
    struct vf_chain *chains[BUCKETS]; /* all that live, by hash */
    struct vf_plugin_run *spare;
    unsigned n_spare;
    /* registry references of functions of runtime/plugins.lua */
    int prepare, publish, build, dispatch, drain, pending;
    uint64_t left_open[VF_STATE_PLUGINS / 64]; /* bit of a slot: that was logged */
    struct vf_timer drain_timer;
    uint64_t drain_end_ms;
    void (*on_shipped)(void *owner);
    void *shipped_owner;
};

/* Calls into runtime/plugins.lua */

static int with_traceback(lua_State *lua)
{
    luaL_traceback(lua, lua, lua_tostring(lua, 1), 1);
    return 1;
}

/* Calls the function `ref` with `snapshot` and a number; leaves n_results. Returns false with a
 * message on the stack. */
static bool call(struct vf_plugins *plugins, int ref, const struct vf_snapshot *snapshot,
                 double number, int n_results)
{
    lua_State *lua = plugins->lua;
    lua_pushcfunction(lua, with_traceback);
    int handler = lua_gettop(lua);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, ref);
    lua_pushlightuserdata(lua, (void *)(uintptr_t)snapshot);
    lua_pushnumber(lua, number);
    int rc = lua_pcall(lua, 2, n_results, handler);
    lua_remove(lua, handler);
    return rc == 0;
}

static int function_ref(lua_State *lua, const char *name)
{
    lua_getfield(lua, -1, name);
    return luaL_ref(lua, LUA_REGISTRYINDEX);
}

static int load_runtime(struct vf_plugins *plugins)
{
    lua_State *lua = plugins->lua;
    lua_pushcfunction(lua, with_traceback);
    lua_getglobal(lua, "require");
    lua_pushliteral(lua, "veloflux.runtime.plugins");
    if (lua_pcall(lua, 1, 1, -3) != 0) {
        vf_log_error(NULL, "plugins.failed", "error=%s", lua_tostring(lua, -1));
        return UV_EIO;
    }
    plugins->prepare = function_ref(lua, "prepare");
    plugins->publish = function_ref(lua, "publish");
    plugins->build = function_ref(lua, "build");
    plugins->dispatch = function_ref(lua, "dispatch");
    plugins->drain = function_ref(lua, "drain");
    plugins->pending = function_ref(lua, "pending");
    lua_settop(lua, 0);
    return 0;
}

/* Chains */

static void free_chain(struct vf_plugins *plugins, struct vf_chain *chain)
{
    for (int i = 0; i < VF_PHASES; i++)
        luaL_unref(plugins->lua, LUA_REGISTRYINDEX, chain->functions[i]);
    free(chain);
}

static void release_chain(struct vf_plugins *plugins, struct vf_chain *chain)
{
    if (chain == NULL || --chain->refs > 0)
        return;
    struct vf_chain **at = &plugins->chains[chain->hash % BUCKETS];
    while (*at != chain)
        at = &(*at)->next;
    *at = chain->next;
    free_chain(plugins, chain);
}

static struct vf_chain *find_chain(struct vf_plugins *plugins, uint64_t hash)
{
    struct vf_chain *chain = plugins->chains[hash % BUCKETS];
    while (chain != NULL && chain->hash != hash)
        chain = chain->next;
    return chain;
}

/* Makes the chain at `index` of the published snapshot: a table of functions by phase, from Lua. */
static struct vf_chain *build_chain(struct vf_plugins *plugins, uint32_t index)
{
    const struct vf_snap_chain *record = vf_snap_chain(plugins->snapshot, index);
    lua_State *lua = plugins->lua;
    struct vf_chain *chain = calloc(1, sizeof(*chain));
    if (chain == NULL)
        return NULL;
    if (!call(plugins, plugins->build, plugins->snapshot, index, 1)) {
        vf_log_error(NULL, "plugins.chain_failed", "error=%s", lua_tostring(lua, -1));
        lua_pop(lua, 1);
        free(chain);
        return NULL;
    }
    chain->hash = record->hash;
    chain->phases = record->phases;
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
    struct vf_chain **bucket = &plugins->chains[chain->hash % BUCKETS];
    chain->next = *bucket;
    *bucket = chain;
    return chain;
}

/* The chain at `index`, which the published snapshot keeps from its first use on. */
static struct vf_chain *chain_at(struct vf_plugins *plugins, uint32_t index)
{
    struct vf_chain *chain = plugins->by_index[index];
    if (chain != NULL)
        return chain;
    chain = find_chain(plugins, vf_snap_chain(plugins->snapshot, index)->hash);
    if (chain == NULL)
        chain = build_chain(plugins, index);
    if (chain != NULL)
        chain->refs++;
    plugins->by_index[index] = chain;
    return chain;
}

/* Exchanges */

static struct vf_plugin_run *take_run(struct vf_plugins *plugins)
{
    struct vf_plugin_run *run = plugins->spare;
    if (run == NULL)
        return calloc(1, sizeof(*run));
    plugins->spare = run->next;
    plugins->n_spare--;
    memset(run, 0, sizeof(*run));
    return run;
}

static void give_run(struct vf_plugins *plugins, struct vf_plugin_run *run)
{
    if (plugins->n_spare >= SPARE_RUNS) {
        free(run);
        return;
    }
    run->next = plugins->spare;
    plugins->spare = run;
    plugins->n_spare++;
}

static void on_outcome(struct vf_task *task, enum vf_task_outcome outcome, void *owner);

/* An exchange whose plugins cannot run must not go by them: it is answered with 500. */
static void attach(void *owner, struct vf_exchange *ex, uint32_t index)
{
    struct vf_plugins *plugins = owner;
    struct vf_plugin_run *run = take_run(plugins);
    ex->phases = 1u << VF_PHASE_REWRITE; /* fails there, see run_phase */
    if (run == NULL)
        return;
    run->plugins = plugins;
    run->ex = ex;
    run->body_limit = vf_snap_settings(ex->snapshot)->plugin_limits.body_bytes;
    ex->plugins = run;
    if ((run->chain = chain_at(plugins, index)) == NULL)
        return;
    run->chain->refs++;
    if ((run->task = vf_task_take(&plugins->tasks, ex, on_outcome, run)) != NULL)
        ex->phases = run->chain->phases;
}

static void detach(void *owner, struct vf_exchange *ex)
{
    struct vf_plugins *plugins = owner;
    struct vf_plugin_run *run = ex->plugins;
    ex->plugins = NULL;
    if (run->task != NULL)
        vf_task_give(run->task);
    release_chain(plugins, run->chain);
    give_run(plugins, run);
}

/* The plugin has answered. */
static enum vf_verdict give_answer(struct vf_plugin_run *run)
{
    struct vf_exchange *ex = run->ex;
    if (ex->head_sent) { /* a body filter gave up: the answer cannot be completed */
        vf_exchange_fail(ex, "plugin_error");
        return VF_VERDICT_END;
    }
    if (ex->request_state == VF_FLOW_BODY && ex->request.framing != VF_FRAMING_NONE)
        ex->close_client = ex->close_client || ex->request.expects_continue;
    run->has_answer = false;
    run->answered = true;
    if (ex->reason == NULL)
        ex->reason = "plugin";
    vf_exchange_answer(ex, run->status, vf_str_make("", 0), run->body, &run->fields);
    return VF_VERDICT_END;
}

static enum vf_verdict conclude(struct vf_plugin_run *run, enum vf_task_outcome outcome)
{
    struct vf_exchange *ex = run->ex;
    if (outcome == VF_TASK_DONE)
        return VF_VERDICT_GO;
    bool in_log = ex->waits == VF_PHASE_LOG;
    if (outcome == VF_TASK_FAILED)
        vf_log_error(NULL, "plugins.fault", "error=%s", run->plugins->tasks.message);
    if (in_log)
        return VF_VERDICT_GO;
    vf_phases_forget_wait(ex);
    if (outcome == VF_TASK_EXITS && run->has_answer)
        return give_answer(run);
    if (ex->head_sent)
        vf_exchange_fail(ex, "plugin_error");
    else
        vf_exchange_problem(ex, 500, "plugin_error", "A plugin of this route has failed.");
    return VF_VERDICT_END;
}

static enum vf_verdict run_phase(void *owner, struct vf_exchange *ex, enum vf_phase phase)
{
    struct vf_plugins *plugins = owner;
    struct vf_plugin_run *run = ex->plugins;
    if (run == NULL || run->task == NULL) {
        vf_phases_forget_wait(ex);
        ex->phases = 0;
        vf_exchange_problem(ex, 500, "plugin_error", "The plugins of this route cannot run.");
        return VF_VERDICT_END;
    }
    vf_guards_tidy(&plugins->guards);
    int function = run->switched ? plugins->dispatch : run->chain->functions[phase];
    enum vf_task_outcome outcome = vf_task_run(run->task, function, phase, (uint32_t)phase);
    if (outcome != VF_TASK_WAITS)
        return conclude(run, outcome);
    vf_phases_collect_now(ex);
    return VF_VERDICT_WAIT;
}

/* A phase that had waited has come to its end. */
static void on_outcome(struct vf_task *task, enum vf_task_outcome outcome, void *owner)
{
    struct vf_plugin_run *run = owner;
    (void)task;
    if (outcome == VF_TASK_WAITS) {
        vf_phases_collect_now(run->ex);
        return;
    }
    if (conclude(run, outcome) == VF_VERDICT_GO)
        vf_phases_resume(run->ex);
}

static void on_content(void *owner, struct vf_exchange *ex)
{
    (void)owner;
    vf_task_wake(ex->plugins->task);
}

static void cancel(void *owner, struct vf_exchange *ex, const char *why)
{
    (void)owner;
    vf_task_cancel(ex->plugins->task, why);
}

static void after_event(void *owner)
{
    struct vf_plugins *plugins = owner;
    if (plugins->tasks.ready != NULL)
        vf_tasks_run_ready(&plugins->tasks);
}

/* The network */

static void on_left_open(struct vf_tasks *tasks, uint32_t slot)
{
    struct vf_plugins *plugins = (struct vf_plugins *)tasks;
    uint64_t bit = UINT64_C(1) << slot % 64;
    if (slot >= VF_STATE_PLUGINS || (plugins->left_open[slot / 64] & bit) != 0)
        return;
    plugins->left_open[slot / 64] |= bit;
    uint32_t n = vf_snap_count(plugins->snapshot, VF_SNAP_PLUGINS);
    for (uint32_t i = 0; i < n; i++) {
        const struct vf_snap_plugin *plugin = vf_snap_plugin(plugins->snapshot, i);
        struct vf_str name = vf_snap_str(plugins->snapshot, plugin->name);
        if (plugin->slot == slot)
            vf_log_warn(NULL, "socket.left_open", "plugin=%.*s", (int)name.len, name.data);
    }
}

/* Clients come first: plugins have a share of the descriptors. */
static uint32_t socket_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
        return UINT16_MAX;
    rlim_t share = limit.rlim_cur / SOCKET_SHARE;
    return share < LEAST_SOCKETS ? LEAST_SOCKETS
           : share > UINT16_MAX  ? UINT16_MAX
                                 : (uint32_t)share;
}

/* Draining */

static double pending_items(struct vf_plugins *plugins, bool is_last)
{
    if (!call(plugins, plugins->pending, NULL, is_last, 1)) {
        vf_log_error(NULL, "plugins.drain_failed", "error=%s", lua_tostring(plugins->lua, -1));
        lua_pop(plugins->lua, 1);
        return 0;
    }
    double items = lua_tonumber(plugins->lua, -1);
    lua_pop(plugins->lua, 1);
    return items;
}

double vf_plugins_pending(struct vf_plugins *plugins)
{
    return pending_items(plugins, false);
}

static void on_drain_timer(struct vf_timer *timer)
{
    struct vf_plugins *plugins =
        (struct vf_plugins *)((char *)timer - offsetof(struct vf_plugins, drain_timer));
    bool is_last = vf_reactor_now_ms(plugins->proxy->reactor) >= plugins->drain_end_ms;
    if (pending_items(plugins, is_last) > 0 && !is_last)
        vf_reactor_timer(plugins->proxy->reactor, timer, DRAIN_POLL_MS);
    else
        plugins->on_shipped(plugins->shipped_owner);
}

void vf_plugins_drain(struct vf_plugins *plugins)
{
    if (plugins == NULL || call(plugins, plugins->drain, NULL, 0, 0))
        return;
    vf_log_error(NULL, "plugins.drain_failed", "error=%s", lua_tostring(plugins->lua, -1));
    lua_pop(plugins->lua, 1);
}

void vf_plugins_finish(struct vf_plugins *plugins, void (*on_shipped)(void *owner), void *owner)
{
    plugins->on_shipped = on_shipped;
    plugins->shipped_owner = owner;
    plugins->drain_timer.on_fire = on_drain_timer;
    plugins->drain_end_ms = vf_reactor_now_ms(plugins->proxy->reactor) + VF_PLUGINS_DRAIN_MS;
    vf_reactor_timer(plugins->proxy->reactor, &plugins->drain_timer, 0);
}

/* Life */

int vf_plugins_new(uv_loop_t *loop, struct vf_proxy *proxy, struct vf_state *state, int block,
                   struct vf_plugins **out)
{
    struct vf_plugins *plugins = calloc(1, sizeof(*plugins));
    if (plugins == NULL)
        return UV_ENOMEM;
    int rc = vf_lua_new(&plugins->lua);
    if (rc < 0) {
        free(plugins);
        return rc;
    }
    plugins->proxy = proxy;
    if ((rc = vf_tasks_init(&plugins->tasks, plugins->lua, loop)) < 0)
        goto fail;
    plugins->tasks.proxy = proxy;
    plugins->tasks.on_left_open = on_left_open;
    if ((rc = vf_sockets_new(&proxy->net, proxy->resolver, socket_limit(),
                             &plugins->tasks.sockets)) < 0 ||
        (rc = vf_guards_init(&plugins->guards, &plugins->tasks, state, &state->blocks[block])) <
            0 ||
        (rc = load_runtime(plugins)) < 0)
        goto fail;
    const struct vf_phases phases = {.owner = plugins,
                                     .attach = attach,
                                     .run = run_phase,
                                     .on_content = on_content,
                                     .cancel = cancel,
                                     .detach = detach,
                                     .after_event = after_event};
    vf_proxy_set_phases(proxy, &phases);
    *out = plugins;
    return 0;

fail:
    vf_guards_deinit(&plugins->guards);
    lua_close(plugins->lua);
    vf_sockets_free(plugins->tasks.sockets);
    free(plugins);
    return rc;
}

int vf_plugins_prepare(struct vf_plugins *plugins, const struct vf_snapshot *snapshot, char *fault,
                       size_t fault_bytes)
{
    lua_State *lua = plugins->lua;
    bool ok = call(plugins, plugins->prepare, snapshot, 0, 1);
    ok = ok && lua_isnil(lua, -1); /* else what is wrong */
    if (!ok)
        snprintf(fault, fault_bytes, "%s", lua_tostring(lua, -1));
    lua_pop(lua, 1);
    return ok ? 0 : UV_EINVAL;
}

static void drop_chains(struct vf_plugins *plugins)
{
    uint32_t n = plugins->snapshot != NULL ? vf_snap_count(plugins->snapshot, VF_SNAP_CHAINS) : 0;
    for (uint32_t i = 0; i < n; i++)
        release_chain(plugins, plugins->by_index[i]);
    free(plugins->by_index);
    plugins->by_index = NULL;
}

/* Keeps the chains that the new snapshot has, too. */
static void follow_chains(struct vf_plugins *plugins, struct vf_snapshot *snapshot)
{
    uint32_t n = vf_snap_count(snapshot, VF_SNAP_CHAINS);
    struct vf_chain **by_index = calloc(n + 1, sizeof(*by_index));
    if (by_index == NULL)
        abort(); /* the process is replaced, and begins with this snapshot */
    for (uint32_t i = 0; i < n; i++) {
        by_index[i] = find_chain(plugins, vf_snap_chain(snapshot, i)->hash);
        if (by_index[i] != NULL)
            by_index[i]->refs++;
    }
    drop_chains(plugins);
    vf_snapshot_release(&plugins->snapshot);
    plugins->snapshot = vf_snapshot_retain(snapshot);
    plugins->by_index = by_index;
}

void vf_plugins_publish(struct vf_plugins *plugins, struct vf_snapshot *snapshot)
{
    follow_chains(plugins, snapshot);
    vf_guards_limit(&plugins->guards, &vf_snap_settings(snapshot)->plugin_limits);
    if (!call(plugins, plugins->publish, snapshot, 0, 0)) {
        vf_log_error(NULL, "plugins.publish_failed", "error=%s", lua_tostring(plugins->lua, -1));
        lua_pop(plugins->lua, 1);
    }
}

void vf_plugins_stop(struct vf_plugins *plugins)
{
    if (plugins == NULL)
        return;
    vf_tasks_stop(&plugins->tasks);
    vf_reactor_timer_stop(plugins->proxy->reactor, &plugins->drain_timer);
    vf_sockets_free(plugins->tasks.sockets); /* they stand on the proxy's loop */
    plugins->tasks.sockets = NULL;
}

void vf_plugins_free(struct vf_plugins *plugins)
{
    if (plugins == NULL)
        return;
    vf_tasks_deinit(&plugins->tasks);
    drop_chains(plugins);
    vf_snapshot_release(&plugins->snapshot);
    while (plugins->spare != NULL) {
        struct vf_plugin_run *next = plugins->spare->next;
        free(plugins->spare);
        plugins->spare = next;
    }
    vf_guards_deinit(&plugins->guards);
    lua_close(plugins->lua);
    free(plugins);
}
