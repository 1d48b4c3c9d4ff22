#define _GNU_SOURCE
#include "lua/guard.h"

#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "proxy/exchange.h"
#include "snapshot/state.h"

enum {
    TICKS_PER_LIMIT = 4, /* how often a handler is looked at in the time that it may take */
    MIN_TICK_US = 1000,
    COLLECT_PAUSE_NS = 1000000000,
    SLACK_SHARE = 8, /* of the limit, for what a handler takes until the hook finds it */
    CORE_RESERVE = 2 /* core code may use so many times the limit: it must not fail */
};

enum { CUT_TIME = 1, CUT_MEMORY }; /* run->cut */

static struct vf_guards *ticking; /* whom the signal is for: mostly one */

static struct vf_guards *guards_of(struct vf_run *run)
{
    return ((struct vf_tasks *)run)->guards;
}

/* Time */

static bool is_core(const char *source)
{
    return strncmp(source, "=veloflux.", 10) == 0 || strncmp(source, "=[C]", 4) == 0;
}

/* Returns whose state a coroutine is of, or NULL. */
static struct vf_guards *guards_of_state(lua_State *lua)
{
    struct vf_guards *guards = ticking;
    const void *wanted = lua_topointer(lua, LUA_REGISTRYINDEX);
    while (guards != NULL && lua_topointer(guards->tasks->lua, LUA_REGISTRYINDEX) != wanted)
        guards = guards->next;
    return guards;
}

static void end_cut(struct vf_guards *guards)
{
    struct vf_run *run = &guards->tasks->run;
    if (!run->cut)
        return;
    lua_sethook(guards->tasks->lua, NULL, 0, 0);
    run->cut = 0; /* last: a tick in between sets no hook that this would take away */
}

/* Raises in the plugin's code; its way through ours has to end where it began. */
static void on_hook(lua_State *lua, lua_Debug *where)
{
    struct vf_guards *guards = guards_of_state(lua);
    if (guards == NULL || !guards->tasks->run.cut || lua_getinfo(lua, "Sl", where) == 0 ||
        is_core(where->source))
        return;
    if (guards->tasks->run.cut == CUT_MEMORY) {
        end_cut(guards);
        luaL_error(lua, "%s:%d: not enough memory", where->short_src, where->currentline);
    }
    luaL_error(lua, "%s:%d: cut off: it ran for longer than %d ms without waiting",
               where->short_src, where->currentline, (int)(guards->limits.cpu_us / 1000));
}

static void cut(struct vf_guards *guards, uint32_t why)
{
    guards->tasks->run.cut = why;
    lua_sethook(guards->tasks->lua, on_hook, LUA_MASKCOUNT, 1);
}

static void look_at(struct vf_guards *guards)
{
    struct vf_run *run = &guards->tasks->run;
    uint64_t entered_ns = run->entered_ns;
    if (entered_ns == 0 || run->cut || guards->limits.cpu_us == UINT64_MAX ||
        vf_clock_cost_ns() - entered_ns + run->spent_ns < guards->limits.cpu_us * 1000)
        return;
    cut(guards, CUT_TIME);
}

static void on_tick(int signal)
{
    (void)signal;
    for (struct vf_guards *guards = ticking; guards != NULL; guards = guards->next)
        look_at(guards);
}

static void set_tick(struct vf_guards *guards)
{
    uint64_t us = guards->limits.cpu_us;
    struct itimerspec every = {0};
    if (!guards->has_timer)
        return;
    if (us != UINT64_MAX) {
        us = us / TICKS_PER_LIMIT > MIN_TICK_US ? us / TICKS_PER_LIMIT : MIN_TICK_US;
        every.it_interval.tv_sec = (time_t)(us / 1000000);
        every.it_interval.tv_nsec = (long)(us % 1000000 * 1000);
        every.it_value = every.it_interval;
    }
    timer_settime(guards->timer, 0, &every, NULL);
}

static int start_timer(struct vf_guards *guards)
{
    struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN};
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    if (sigaction(SIGRTMIN, &action, NULL) < 0 ||
        timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &guards->timer) < 0)
        return uv_translate_sys_error(errno);
    guards->has_timer = true;
    return 0;
}

/* Memory */

static size_t limit_bytes(const struct vf_guards *guards)
{
    uint64_t limit = guards->limits.memory_bytes;
    return limit < UINT64_MAX - guards->base_bytes ? limit + guards->base_bytes : UINT64_MAX;
}

void vf_guards_rebase(struct vf_guards *guards)
{
    guards->base_bytes = guards->left_bytes = guards->used_bytes;
    guards->in_plugin = false;
}

/* What the state grows by between two plugins is not theirs. */
static void follow_others(struct vf_guards *guards, bool is_plugin)
{
    if (is_plugin == guards->in_plugin)
        return;
    guards->in_plugin = is_plugin;
    if (!is_plugin) {
        guards->left_bytes = guards->used_bytes;
        return;
    }
    if (guards->used_bytes > guards->left_bytes)
        guards->base_bytes += guards->used_bytes - guards->left_bytes;
    if (guards->base_bytes > guards->used_bytes)
        guards->base_bytes = guards->used_bytes; /* garbage of others is gone */
}

/* What core code may use. A limit that is lowered leaves it room beyond what is in use by then. */
static size_t most_of_core(const struct vf_guards *guards)
{
    uint64_t limit = guards->limits.memory_bytes;
    if (limit < guards->used_bytes)
        limit = guards->used_bytes;
    return limit < UINT64_MAX / CORE_RESERVE ? limit * CORE_RESERVE : UINT64_MAX;
}

/* Says whether the state may hold so much, which is beyond the limit. */
static bool may_exceed(struct vf_guards *guards, size_t used, size_t limit)
{
    const struct vf_run *run = &guards->tasks->run;
    if (run->plugin == 0)
        return guards->base_bytes != 0 || used <= guards->core_bytes;
    if (used - limit > guards->limits.memory_bytes / SLACK_SHARE)
        return false;
    if (run->entered_ns != 0 && !run->cut)
        cut(guards, CUT_MEMORY);
    return true;
}

static void *allocate(void *ud, void *block, size_t old_size, size_t new_size)
{
    struct vf_guards *guards = ud;
    if (guards->base_bytes != 0)
        follow_others(guards, guards->tasks->run.plugin != 0);
    size_t used = guards->used_bytes - old_size + new_size, limit = limit_bytes(guards);
    if (new_size > old_size && used > limit && !may_exceed(guards, used, limit))
        return NULL;
    void *result = guards->allocate(guards->allocate_ud, block, old_size, new_size);
    if (result != NULL || new_size == 0)
        guards->used_bytes = used;
    return result;
}

/* What plugins have of the state: without what others made since they ran, if it is shared. */
static size_t of_plugins(const struct vf_guards *guards)
{
    size_t at = guards->used_bytes;
    if (guards->base_bytes != 0 && !guards->in_plugin && guards->left_bytes < at)
        at = guards->left_bytes;
    return at > guards->base_bytes ? at - guards->base_bytes : 0;
}

void vf_guards_tidy(struct vf_guards *guards)
{
    uint64_t limit = guards->limits.memory_bytes, eighth = limit / 8, now_ns;
    size_t used = of_plugins(guards);
    if (limit == UINT64_MAX || used < 6 * eighth)
        return;
    now_ns = vf_clock_ns();
    if (now_ns - guards->collected_ns < COLLECT_PAUSE_NS && (used < limit || guards->is_full))
        return;
    guards->collected_ns = now_ns;
    lua_gc(guards->tasks->lua, LUA_GCCOLLECT, 0);
    guards->is_full = of_plugins(guards) > 7 * eighth;
}

/* Life */

/* The task that ran steps back: its handler does not run for now. */
static void on_switch(struct vf_tasks *tasks)
{
    struct vf_guards *guards = tasks->guards;
    struct vf_run *run = &tasks->run;
    if (run->entered_ns == 0)
        return;
    run->spent_ns += vf_clock_cost_ns() - run->entered_ns;
    run->entered_ns = 0;
    guards->block->process.phase_owner = 0;
    end_cut(guards);
}

int vf_guards_init(struct vf_guards *guards, struct vf_tasks *tasks, struct vf_state *state,
                   struct vf_state_block *block)
{
    memset(guards, 0, sizeof(*guards));
    guards->tasks = tasks;
    guards->state = state;
    guards->block = block;
    guards->limits = (struct vf_snap_plugin_limits){UINT64_MAX, UINT64_MAX, UINT64_MAX,
                                                    UINT64_MAX, UINT64_MAX, 0};
    tasks->guards = guards;
    tasks->on_switch = on_switch;
    guards->used_bytes = (size_t)lua_gc(tasks->lua, LUA_GCCOUNT, 0) * 1024 +
                         (size_t)lua_gc(tasks->lua, LUA_GCCOUNTB, 0);
    guards->allocate = lua_getallocf(tasks->lua, &guards->allocate_ud);
    lua_setallocf(tasks->lua, allocate, guards);
    guards->next = ticking;
    ticking = guards;
    return start_timer(guards);
}

void vf_guards_deinit(struct vf_guards *guards)
{
    if (guards->tasks == NULL)
        return;
    if (guards->has_timer)
        timer_delete(guards->timer);
    guards->has_timer = false;
    struct vf_guards **at = &ticking;
    while (*at != NULL && *at != guards)
        at = &(*at)->next;
    if (*at != NULL)
        *at = guards->next;
    lua_setallocf(guards->tasks->lua, guards->allocate, guards->allocate_ud);
    guards->tasks->guards = NULL;
    guards->tasks->on_switch = NULL;
}

void vf_guards_limit(struct vf_guards *guards, const struct vf_snap_plugin_limits *limits)
{
    guards->limits = *limits;
    guards->core_bytes = most_of_core(guards);
    set_tick(guards);
}

/* Calls of handlers */

static struct vf_state_plugin *counters_of(struct vf_run *run, const struct vf_guard *guard)
{
    return &guards_of(run)->block->plugins[guard->slot];
}

int vf_guard_enter(struct vf_run *run, struct vf_guard *guard)
{
    struct vf_guards *guards = guards_of(run);
    struct vf_state_plugin_phase *counts = &counters_of(run, guard)->phases[run->phase];
    uint64_t cost_ns = run->left_ns != 0 ? run->left_ns : vf_clock_cost_ns();
    uint64_t now_ns = vf_clock_of(cost_ns);
    run->left_ns = 0;
    if (guard->tripped_until_ns > now_ns ||
        atomic_load_explicit(&guards->state->plugin_tripped_ns[guard->slot], memory_order_relaxed) >
            now_ns) {
        vf_count_add(&counts->skipped, 1);
        return 0;
    }
    vf_count_add(&counts->calls, 1);
    run->plugin = guard->slot + 1;
    run->instance = guard->number;
    run->waited = 0;
    run->spent_ns = 0;
    run->entered_ns = cost_ns;
    run->begun_ns = now_ns;
    atomic_store_explicit(&guards->block->process.phase_owner, run->plugin, memory_order_relaxed);
    return 1;
}

/* Adds "key-auth;desc=access;dur=0.012" to what the answer tells (W3C Server Timing;
 * milliseconds). */
static void note_timing(const struct vf_run *run, const struct vf_guard *guard, uint64_t took_ns)
{
    static const char *const names[VF_PHASES] = {
        "init_worker",   "configure",   "certificate", "rewrite", "access", "balancer",
        "header_filter", "body_filter", "log",         "timer",   "control"};
    struct vf_exchange *ex = run->ex;
    char entry[256];
    int len = snprintf(entry, sizeof(entry), "%s%.*s;desc=%s;dur=%.3f",
                       ex->timings.len > 0 ? ", " : "", (int)guard->label.len, guard->label.data,
                       names[run->phase], (double)took_ns / 1e6);
    if (ex->head_sent || len <= 0 || (size_t)len >= sizeof(entry))
        return;
    if (ex->timings.len + (size_t)len > ex->timings_room) {
        size_t room = ex->timings_room * 2 + sizeof(entry);
        char *grown = vf_arena_alloc(&ex->arena, room);
        if (grown == NULL)
            return;
        memcpy(grown, ex->timings.data != NULL ? ex->timings.data : "", ex->timings.len);
        ex->timings.data = grown;
        ex->timings_room = room;
    }
    memcpy((char *)(uintptr_t)ex->timings.data + ex->timings.len, entry, (size_t)len);
    ex->timings.len += (size_t)len;
}

void vf_guard_leave(struct vf_run *run, struct vf_guard *guard)
{
    struct vf_guards *guards = guards_of(run);
    struct vf_state_plugin_phase *counts = &counters_of(run, guard)->phases[run->phase];
    uint64_t cost_ns = vf_clock_cost_ns();
    uint64_t took_ns = vf_clock_of(cost_ns) - run->begun_ns; /* waiting included */
    run->entered_ns = 0;
    run->plugin = run->instance = 0;
    atomic_store_explicit(&guards->block->process.phase_owner, 0, memory_order_relaxed);
    end_cut(guards);
    vf_state_observe_handler(counts, took_ns);
    if (run->ex != NULL && run->ex->wants_timings)
        note_timing(run, guard, took_ns);
    if (run->waited > 0)
        vf_count_add(&counts->yields, run->waited);
    run->left_ns = cost_ns;
}

int vf_guard_error(struct vf_run *run, struct vf_guard *guard)
{
    struct vf_guards *guards = guards_of(run);
    struct vf_state_plugin *counts = counters_of(run, guard);
    const struct vf_snap_plugin_limits *limits = &guards->limits;
    uint64_t now_ns = vf_clock_ns();
    vf_count_add(&counts->phases[run->phase].errors, 1);
    if (limits->trip_errors == UINT64_MAX)
        return 0;
    if (guard->n_errors == 0 || now_ns - guard->window_ns > limits->trip_window_ms * 1000000) {
        guard->window_ns = now_ns;
        guard->n_errors = 0;
    }
    if (++guard->n_errors < limits->trip_errors)
        return 0;
    guard->n_errors = 0;
    guard->tripped_until_ns = now_ns + limits->trip_pause_ms * 1000000;
    vf_count_add(&counts->trips, 1);
    return 1;
}

void vf_guard_memory(struct vf_run *run, struct vf_memory_view *out)
{
    const struct vf_guards *guards = guards_of(run);
    *out = (struct vf_memory_view){.lua_bytes = guards->used_bytes,
                                   .lua_limit = guards->limits.memory_bytes,
                                   .worker = guards->block->worker,
                                   .pid = getpid()};
}

struct vf_state *vf_guard_state(struct vf_run *run)
{
    return guards_of(run)->state;
}

struct vf_state_block *vf_guard_block(struct vf_run *run)
{
    return guards_of(run)->block;
}
