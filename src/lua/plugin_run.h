/* lua/plugin_run.h - an exchange on its way through its plugins: what plugin_run.c and the
 * views share. */
#ifndef VF_LUA_PLUGIN_RUN_H
#define VF_LUA_PLUGIN_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "http/message.h"
#include "snapshot/layout.h"

struct vf_chain;
struct vf_exchange;
struct vf_plugins;
struct vf_task;

/* ex->plugins. Recycled. */
struct vf_plugin_run {
    struct vf_plugin_run *next;
    struct vf_plugins *plugins;
    struct vf_exchange *ex;
    struct vf_chain *chain;
    struct vf_task *task;
    uint64_t body_limit; /* bytes of content that plugins may keep */
    /* the answer that a plugin gives (pdk.response.exit), in the exchange's arena */
    bool has_answer;
    bool answered;
    bool switched; /* to a chain that Lua has resolved for a consumer: runtime/identity.lua */
    uint32_t status;
    struct vf_str body;
    struct vf_fields fields;
};

#endif
