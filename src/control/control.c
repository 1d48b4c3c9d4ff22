#include "control/control.h"

#include <lauxlib.h>
#include <lua.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/control_core.h"
#include "lua/state.h"
#include "snapshot/snapshot.h"

enum { PLUGIN_SOCKETS = 1024 /* of all plugins, at a time */ };

/* The parts of a large snapshot are for a moment: each goes back to the system when it is freed,
 * and leaves no hole in the heap. Of small blocks some memory is kept for the next ones. */
enum { LARGE_BLOCK = 1 << 22, FREE_TOP = 1 << 24 };

struct vf_control vf_control;

/* Lua */

static int with_traceback(lua_State *lua)
{
    luaL_traceback(lua, lua, lua_tostring(lua, 1), 1);
    return 1;
}

void vf_control_raise(const char *name, uint64_t number, const char *text)
{
    lua_State *lua = vf_control.lua;
    lua_pushcfunction(lua, with_traceback);
    lua_getglobal(lua, "require");
    lua_pushliteral(lua, "veloflux.control");
    lua_call(lua, 1, 1);
    lua_getfield(lua, -1, "on_event");
    lua_remove(lua, -2);
    lua_pushstring(lua, name);
    lua_pushnumber(lua, (lua_Number)number);
    lua_pushstring(lua, text);
    if (lua_pcall(lua, 3, 0, 1) != 0)
        vf_log_error(NULL, "control.fault", "event=%s error=%s", name, lua_tostring(lua, -1));
    lua_settop(lua, 0);
}

void vf_control_call_store(const char *module, const char *name)
{
    if (vf_lua_call(vf_control.lua, module, name, 0, NULL) != 0)
        vf_log_error(NULL, "control.fault", "event=%s error=%s", name,
                     lua_tostring(vf_control.lua, -1));
    lua_settop(vf_control.lua, 0);
}

/* Sockets */

static void open_socket(struct vf_control_socket *socket)
{
    int rc = vf_admin_listen(vf_control.admin, socket->name, socket->fd);
    if (rc < 0)
        vf_log_error(NULL, "listener.failed", "name=%s err=%s", socket->name, uv_err_name(rc));
    socket->is_open = true; /* or closed by vf_admin_listen: not ours any more */
}

static void on_listen(struct vf_link_message *message)
{
    if (vf_control.n_sockets == VF_CONTROL_SOCKETS || vf_control.is_ending) {
        vf_follower_tell(&vf_control.follower, VF_LINK_UNLISTENED, message->args[0]);
        return;
    }
    struct vf_control_socket *socket = &vf_control.sockets[vf_control.n_sockets++];
    *socket = (struct vf_control_socket){.id = message->args[0], .fd = vf_link_take_fd(message, 0)};
    snprintf(socket->name, sizeof(socket->name), "%.*s", VF_CONTROL_NAME_BYTES - 1, message->text);
    if (vf_control.is_published)
        open_socket(socket);
}

static void on_unlisten(const struct vf_link_message *message)
{
    for (size_t i = 0; i < vf_control.n_sockets; i++) {
        struct vf_control_socket *socket = &vf_control.sockets[i];
        if (socket->id != message->args[0])
            continue;
        if (socket->is_open)
            vf_admin_unlisten(vf_control.admin, socket->fd, message->args[1] != 0);
        else
            close(socket->fd);
        *socket = vf_control.sockets[--vf_control.n_sockets];
        break;
    }
    vf_follower_tell(&vf_control.follower, VF_LINK_UNLISTENED, message->args[0]);
}

/* Life */

static void on_drained(void *owner)
{
    (void)owner;
    vf_background_stop(&vf_control.background);
    vf_admin_stop(vf_control.admin);
    vf_background_deinit(&vf_control.background);
    vf_control_call_store("veloflux.store.database", "shutdown");
    vf_control_call_store("veloflux.store.redis.wire", "shutdown");
    for (size_t i = 0; i < vf_control.n_watches; i++)
        uv_close((uv_handle_t *)&vf_control.watches[i], NULL);
    vf_metering_stop(&vf_control.metering);
    vf_upkeep_stop(&vf_control.upkeep);
    vf_alarm_close(&vf_control.alarm);
    vf_turns_close(&vf_control.turns);
    vf_follower_close(&vf_control.follower, NULL);
}

static void end(void)
{
    if (vf_control.is_ending)
        return;
    vf_control.is_ending = true;
    for (size_t i = 0; i < vf_control.n_sockets; i++)
        if (!vf_control.sockets[i].is_open)
            close(vf_control.sockets[i].fd);
    vf_control.n_sockets = 0;
    vf_admin_drain(vf_control.admin, on_drained, NULL);
}

/* The same, with a last word for Lua: it may hold what others wait for. */
static void end_in_order(void)
{
    if (!vf_control.is_ending)
        vf_control_raise("ending", 0, "");
    end();
}

void vf_control_give_up(void)
{
    vf_control.exit_code = 1;
    end();
}

static void on_publish(void *owner, struct vf_snapshot *snapshot)
{
    (void)owner;
    if (vf_control.is_ending)
        return;
    vf_control_raise("published", snapshot->version, "");
    vf_background_publish(&vf_control.background, snapshot);
    vf_admin_publish(vf_control.admin, snapshot,
                     vf_control.follower.usage.map != NULL ? &vf_control.follower.usage : NULL);
    vf_control.is_published = true;
    for (size_t i = 0; i < vf_control.n_sockets; i++)
        if (!vf_control.sockets[i].is_open)
            open_socket(&vf_control.sockets[i]);
}

/* A snapshot of this process's own making was checked when it was finished, and is sealed. */
static bool is_checked(void *owner, int fd)
{
    (void)owner;
    return vf_control_has_offered(fd);
}

static void on_message(void *owner, struct vf_link_message *message)
{
    (void)owner;
    switch (message->type) {
    case VF_LINK_LISTEN:
        on_listen(message);
        break;
    case VF_LINK_UNLISTEN:
        on_unlisten(message);
        break;
    case VF_LINK_DRAIN:
        end_in_order();
        break;
    case VF_LINK_USAGE:
        if (!vf_control.is_ending)
            vf_metering_start(&vf_control.metering, &vf_control.loop, vf_control.follower.usage.fd);
        break;
    case VF_LINK_RELOAD:
        vf_control.reload_heard = message->args[0];
        vf_control_raise("reload", 0, "");
        break;
    case VF_LINK_PREPARED:
        vf_control_raise("prepared", message->args[0], "");
        break;
    case VF_LINK_REFUSED:
        vf_control_raise(message->args[1] == VF_LINK_UNABLE ? "unable" : "refused",
                         message->args[0], message->text);
        break;
    case VF_LINK_LIVE:
        vf_control_raise("live", message->args[1], "");
        break;
    default: /* of a newer supervisor */
        break;
    }
}

static void on_orphaned(void *owner)
{
    (void)owner;
    end_in_order();
}

/* The conf that `veloflux proxy` made, or NULL. */
static char *read_conf_text(int fd)
{
    struct stat info;
    if (fd < 0 || fstat(fd, &info) < 0)
        return NULL;
    char *text = calloc(1, (size_t)info.st_size + 1);
    if (text != NULL && pread(fd, text, (size_t)info.st_size, 0) != info.st_size) {
        free(text);
        return NULL;
    }
    return text;
}

/* Pushes {mode, conf, text, watch, state, published}. */
static void push_context(lua_State *lua, const char *text)
{
    static const char *const modes[] = {
        [VF_LINK_FRESH] = "fresh", [VF_LINK_RESUME] = "resume", [VF_LINK_RECOMPILE] = "recompile"};
    const struct vf_follower *follower = &vf_control.follower;
    lua_createtable(lua, 0, 6);
    lua_pushstring(lua, modes[follower->mode]);
    lua_setfield(lua, -2, "mode");
    lua_pushstring(lua, follower->conf);
    lua_setfield(lua, -2, "conf");
    lua_pushstring(lua, text); /* NULL: nil */
    lua_setfield(lua, -2, "text");
    lua_pushboolean(lua, follower->watches_conf);
    lua_setfield(lua, -2, "watch");
    lua_pushlightuserdata(lua, follower->state);
    lua_setfield(lua, -2, "state");
    lua_pushnumber(lua, (lua_Number)follower->state->published_version);
    lua_setfield(lua, -2, "published");
}

/* Calls veloflux.control.start{...}. Returns true when control shall run. */
static bool start_lua(void)
{
    lua_State *lua = vf_control.lua;
    char *text = read_conf_text(vf_control.follower.conf_fd);
    lua_pushcfunction(lua, with_traceback);
    lua_getglobal(lua, "require");
    lua_pushliteral(lua, "veloflux.control");
    int failed = lua_pcall(lua, 1, 1, 1);
    if (!failed) {
        lua_getfield(lua, -1, "start");
        push_context(lua, text);
        failed = lua_pcall(lua, 1, 1, 1);
    }
    free(text);
    if (failed)
        vf_log_error(NULL, "control.failed", "error=%s", lua_tostring(lua, -1));
    bool runs = !failed && lua_toboolean(lua, -1);
    lua_settop(lua, 0);
    return runs;
}

int vf_control_probe(const char *conf, int conf_fd)
{
    lua_State *lua = NULL;
    char *text = read_conf_text(conf_fd);
    const char *args[] = {conf, text};
    int exit_code = 1;
    if (vf_lua_new(&lua) == 0) {
        if (vf_lua_call(lua, "veloflux.control", "probe", text != NULL ? 2 : 1, args) == 0)
            exit_code = lua_toboolean(lua, -1) ? 0 : 1;
        else
            fprintf(stderr, "%s\n", lua_tostring(lua, -1));
        lua_close(lua);
    }
    free(text);
    return exit_code;
}

/* Most of what loading allocates stays: it is collected when control/memory.lua is open, not
 * before, which is a seventh of the time to start. */
static int new_lua(lua_State **out)
{
    int rc = vf_lua_new(out);
    if (rc == 0)
        lua_gc(*out, LUA_GCSTOP, 0);
    return rc;
}

int vf_control_main(void)
{
    const struct vf_follower_handlers handlers = {.is_checked = is_checked,
                                                  .on_publish = on_publish,
                                                  .on_message = on_message,
                                                  .on_orphaned = on_orphaned};
    int rc = uv_loop_init(&vf_control.loop);
    if (rc < 0)
        return 1;
    mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
    mallopt(M_TRIM_THRESHOLD, FREE_TOP);
    if ((rc = vf_follower_open(&vf_control.follower, &vf_control.loop, "control")) < 0 ||
        (rc = new_lua(&vf_control.lua)) < 0 ||
        (rc = vf_background_init(&vf_control.background, vf_control.lua, &vf_control.loop)) < 0 ||
        (rc = vf_admin_new(&vf_control.loop, vf_control.follower.state, vf_control.follower.block,
                           &vf_control.background.tasks, &vf_control.admin)) < 0 ||
        (rc = vf_background_open(&vf_control.background, vf_admin_proxy(vf_control.admin),
                                 vf_control.follower.state, vf_control.follower.block,
                                 PLUGIN_SOCKETS)) < 0 ||
        (rc = vf_follower_start(&vf_control.follower, &handlers)) < 0) {
        vf_log_error(NULL, "control.failed", "err=%s", uv_err_name(rc));
        return 1;
    }
    vf_control.channels = vf_admin_channels(vf_control.admin);
    vf_upkeep_start(&vf_control.upkeep, &vf_control.loop, vf_control.follower.state);
    vf_alarm_open(&vf_control.alarm, &vf_control.loop, vf_control.lua);
    vf_turns_open(&vf_control.turns, &vf_control.loop);
    vf_offload_open(&vf_control.offload, &vf_control.loop, vf_control.lua);
    if (!start_lua()) {
        vf_control.exit_code = 1;
        end();
    }
    uv_run(&vf_control.loop, UV_RUN_DEFAULT);
    vf_channels_free(vf_control.channels);
    vf_admin_free(vf_control.admin);
    uv_loop_close(&vf_control.loop);
    lua_close(vf_control.lua);
    return vf_control.exit_code;
}
