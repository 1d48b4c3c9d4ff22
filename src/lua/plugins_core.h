/* lua/plugins_core.h - the plugins of a process inside: what plugins.c (their life) and
 * plugin_run.c (exchanges that run through them) share. */
#ifndef VF_LUA_PLUGINS_CORE_H
#define VF_LUA_PLUGINS_CORE_H

#include "lua/chains.h"
#include "lua/guard.h"
#include "lua/plugin_run.h"
#include "lua/plugins.h"
#include "lua/task.h"
#include "proxy/core.h"
#include "snapshot/state.h"

struct vf_plugins {
    struct vf_tasks tasks;
    struct vf_guards guards;
    struct vf_proxy *proxy;
    struct lua_State *lua;
    struct vf_chains chains;
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

/* Joins the plugins to the proxy: exchanges run through their chains from here on. */
void vf_plugin_runs_join(struct vf_plugins *plugins, struct vf_proxy *proxy);

/* Frees the memory of exchanges that have ended. */
void vf_plugin_runs_free(struct vf_plugins *plugins);

#endif
