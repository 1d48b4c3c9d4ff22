#include "control/offload.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "lua/files.h"
#include "lua/yaml.h"

struct job {
    uv_work_t work;
    struct vf_offload *offload;
    double token;
    char *path; /* of a file that is replaced; NULL: a text is parsed */
    const char *data;
    size_t len;
    uint32_t mode;
    struct vf_yaml *document;
    int rc;
};

/* On a thread. */
static void on_work(uv_work_t *work)
{
    struct job *job = work->data;
    if (job->path != NULL)
        job->rc = vf_file_replace(job->path, job->data, job->len, job->mode);
    else
        job->document = vf_yaml_parse(job->data, job->len);
}

static void push_result(lua_State *lua, const struct job *job)
{
    if (job->path != NULL)
        lua_pushinteger(lua, job->rc);
    else if (job->document != NULL)
        lua_pushlightuserdata(lua, job->document);
    else
        lua_pushnil(lua);
}

static void on_done(uv_work_t *work, int status)
{
    struct job *job = work->data;
    lua_State *lua = job->offload->lua;
    (void)status; /* nothing is cancelled */
    lua_getglobal(lua, "require");
    lua_pushliteral(lua, "veloflux.control.offload");
    lua_call(lua, 1, 1);
    lua_getfield(lua, -1, job->path != NULL ? "replaced" : "parsed");
    lua_pushnumber(lua, job->token);
    push_result(lua, job);
    if (lua_pcall(lua, 2, 0, 0) != 0)
        vf_log_error(NULL, "control.fault", "event=offload error=%s", lua_tostring(lua, -1));
    lua_settop(lua, 0);
    free(job->path);
    free(job);
}

void vf_offload_open(struct vf_offload *offload, uv_loop_t *loop, struct lua_State *lua)
{
    offload->loop = loop;
    offload->lua = lua;
}

static int submit(struct vf_offload *offload, const struct job *wanted)
{
    struct job *job = offload->loop != NULL ? malloc(sizeof(*job)) : NULL;
    if (job == NULL)
        return UV_ENOMEM;
    *job = *wanted;
    job->offload = offload;
    job->work.data = job;
    int rc = uv_queue_work(offload->loop, &job->work, on_work, on_done);
    if (rc < 0)
        free(job);
    return rc;
}

int vf_offload_parse(struct vf_offload *offload, double token, const char *data, size_t len)
{
    return submit(offload, &(struct job){.token = token, .data = data, .len = len});
}

int vf_offload_replace(struct vf_offload *offload, double token, const char *path, const char *data,
                       size_t len, uint32_t mode)
{
    char *copy = strdup(path);
    if (copy == NULL)
        return UV_ENOMEM;
    int rc =
        submit(offload,
               &(struct job){.token = token, .path = copy, .data = data, .len = len, .mode = mode});
    if (rc < 0)
        free(copy);
    return rc;
}
