/* spec/support/exchange.c - an exchange without a network, and a task that plugins' code may run
 * in: what the functions of lua/view.h and lua/guard.h need that Lua calls through FFI. Built by
 * spec/support/native.lua, with the library under test. */
#include <lua.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "http/target.h"
#include "lua/guard.h"
#include "lua/plugin_run.h"
#include "lua/task.h"
#include "lua/view.h"
#include "net/reactor.h"
#include "proxy/core.h"
#include "proxy/exchange.h"
#include "proxy/labels.h"
#include "snapshot/state.h"

/* Only what is looked at is filled in; the rest is zero. */
struct world {
    struct vf_tasks tasks; /* first: what Lua has is its run */
    struct vf_guards guards;
    struct vf_proxy proxy;
    struct vf_exchange ex;
    struct vf_plugin_run plugins;
    struct vf_snap_listener listener;
    struct vf_labels labels;
    struct vf_state *state;
    struct vf_state_block *block;
    uv_loop_t loop;
};

static struct vf_str text(const char *data)
{
    return vf_str_make(data, strlen(data));
}

static void nothing(void *owner)
{
    (void)owner;
}

static void *zeroed(size_t size)
{
    void *memory = calloc(1, size);
    if (memory == NULL)
        abort();
    return memory;
}

/* Returns the run of a task whose exchange is `GET /orders?page=2` without fields. */
struct vf_run *vf_spec_exchange_new(void)
{
    struct world *world = zeroed(sizeof(*world));
    struct vf_exchange *ex = &world->ex;
    int fd = vf_state_create(&world->state);
    int block = fd < 0 ? -1 : vf_state_lease(world->state, VF_PROCESS_WORKER, 0, 1);
    if (block < 0)
        abort();
    close(fd);
    world->block = &world->state->blocks[block];
    if (uv_loop_init(&world->loop) < 0 ||
        vf_reactor_new(&world->loop, nothing, NULL, &world->proxy.reactor) < 0)
        abort();
    world->guards = (struct vf_guards){
        .tasks = &world->tasks,
        .state = world->state,
        .block = world->block,
        .limits = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX}};
    world->tasks.guards = &world->guards;
    world->tasks.run.ex = ex;
    world->tasks.run.context = 1;
    vf_arena_init(&ex->arena);
    ex->proxy = &world->proxy;
    ex->plugins = &world->plugins;
    ex->listener = &world->listener;
    ex->labels = &world->labels;
    world->labels = (struct vf_labels){text("http"), text("all"), text("default"), text("web"),
                                       text("127.0.0.1:9001")};
    ex->request.version_minor = 1;
    ex->request.method_name = text("GET");
    ex->request.target = text("/orders?page=2");
    ex->path.text = text("/orders");
    ex->target.path = text("/orders");
    ex->target.query = text("page=2");
    ex->target.has_query = true;
    ex->host = text("shop.example.com");
    ex->request_id = text("0123456789abcdef");
    ex->client_ip = text("192.0.2.1");
    return &world->tasks.run;
}

/* Adds a field that lives as long as the caller keeps its texts. */
void vf_spec_exchange_field(struct vf_run *run, int side, const char *name, const char *value)
{
    struct vf_exchange *ex = run->ex;
    struct vf_head *head = side == VF_VIEW_REQUEST ? &ex->request : &ex->response;
    if (side != VF_VIEW_REQUEST)
        head->status = 200;
    if (vf_fields_add(&head->fields, &ex->arena, text(name), text(value)) < 0)
        abort();
}

/* Frees what handlers have left in the exchange; its fields are gone then. */
void vf_spec_exchange_reset(struct vf_run *run)
{
    struct vf_exchange *ex = run->ex;
    memset(&ex->request.fields, 0, sizeof(ex->request.fields));
    memset(&ex->response.fields, 0, sizeof(ex->response.fields));
    memset(&ex->early_fields, 0, sizeof(ex->early_fields));
    vf_arena_deinit(&ex->arena);
    vf_arena_init(&ex->arena);
}

void vf_spec_exchange_free(struct vf_run *run)
{
    struct world *world = (struct world *)run;
    if (world->tasks.lua != NULL)
        vf_guards_deinit(&world->guards);
    vf_arena_deinit(&world->ex.arena);
    vf_reactor_free(world->proxy.reactor);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    uv_loop_close(&world->loop);
    vf_state_unmap(world->state);
    free(world);
}

/* The Lua state that the specs run in, for limits: called as a C function of Lua. */
static lua_State *state_of_specs;

int vf_spec_exchange_attach(lua_State *lua)
{
    state_of_specs = lua;
    return 0;
}

/* Bounds handlers as a worker does; 0: time is not bounded, nothing ticks. */
void vf_spec_exchange_limit(struct vf_run *run, uint64_t cpu_us)
{
    struct world *world = (struct world *)run;
    struct vf_snap_plugin_limits limits = world->guards.limits;
    if (world->tasks.lua == NULL) {
        world->tasks.lua = state_of_specs;
        if (vf_guards_init(&world->guards, &world->tasks, world->state, world->block) < 0)
            abort();
    }
    limits.cpu_us = cpu_us != 0 ? cpu_us : UINT64_MAX;
    vf_guards_limit(&world->guards, &limits);
}
