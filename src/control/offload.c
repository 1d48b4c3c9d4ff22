#include "control/offload.h"

#include <lauxlib.h>
#include <lua.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/shm.h"
#include "lua/files.h"
#include "lua/yaml.h"
#include "snapshot/builder.h"

enum { MUCH_BYTES = 1 << 22 }; /* that take a millisecond to unmap when nobody else has them */

struct job;

/* What can be done. `work` runs on a thread. `push`, on the loop, pushes what the function `answer`
 * of Lua gets behind the token. */
struct kind {
    void (*work)(struct job *job);
    const char *answer; /* NULL: nobody waits for it */
    void (*push)(lua_State *lua, const struct job *job);
};

struct job {
    uv_work_t work;
    const struct kind *kind;
    struct vf_offload *offload;
    double token;
    char *path; /* of a file that is replaced; owned */
    const char *data;
    size_t len;
    uint32_t mode;
    struct vf_yaml *document;
    struct vf_snapb *builder;
    uint64_t version;
    void *map; /* is to be unmapped, and `fd` closed */
    int fd;
    int rc;
    char fault[256];
};

/* --- Kinds ------------------------------------------------------------------------------------ */

static void parse(struct job *job)
{
    job->document = vf_yaml_parse(job->data, job->len);
}

static void push_document(lua_State *lua, const struct job *job)
{
    if (job->document != NULL)
        lua_pushlightuserdata(lua, job->document);
    else
        lua_pushnil(lua);
}

static void replace(struct job *job)
{
    job->rc = vf_file_replace(job->path, job->data, job->len, job->mode);
}

static void push_rc(lua_State *lua, const struct job *job)
{
    lua_pushinteger(lua, job->rc);
}

static void finish(struct job *job)
{
    job->rc = vf_snapb_finish(job->builder, job->version, job->fault, sizeof(job->fault));
}

static void push_fault(lua_State *lua, const struct job *job)
{
    if (job->rc < 0)
        lua_pushstring(lua, job->fault);
    else
        lua_pushnil(lua);
}

static void let_go(struct job *job)
{
    vf_shm_unmap(job->map, job->len);
    if (job->fd >= 0)
        close(job->fd);
}

/* What is free between what is in use goes back to the system, too. */
static void trim(struct job *job)
{
    (void)job;
    malloc_trim(0);
}

static const struct kind parsing = {parse, "parsed", push_document};
static const struct kind replacing = {replace, "replaced", push_rc};
static const struct kind finishing = {finish, "finished", push_fault};
static const struct kind letting_go = {let_go, NULL, NULL};
static const struct kind trimming = {trim, NULL, NULL};

/* --- Jobs ------------------------------------------------------------------------------------- */

static void on_work(uv_work_t *work)
{
    struct job *job = work->data;
    job->kind->work(job);
}

static void answer(const struct job *job)
{
    lua_State *lua = job->offload->lua;
    lua_getglobal(lua, "require");
    lua_pushliteral(lua, "veloflux.control.offload");
    lua_call(lua, 1, 1);
    lua_getfield(lua, -1, job->kind->answer);
    lua_pushnumber(lua, job->token);
    job->kind->push(lua, job);
    if (lua_pcall(lua, 2, 0, 0) != 0)
        vf_log_error(NULL, "control.fault", "event=offload error=%s", lua_tostring(lua, -1));
    lua_settop(lua, 0);
}

static void on_done(uv_work_t *work, int status)
{
    struct job *job = work->data;
    (void)status; /* nothing is cancelled */
    if (job->kind->answer != NULL)
        answer(job);
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
    return submit(offload,
                  &(struct job){.kind = &parsing, .token = token, .data = data, .len = len});
}

int vf_offload_replace(struct vf_offload *offload, double token, const char *path, const char *data,
                       size_t len, uint32_t mode)
{
    struct job job = {.kind = &replacing,
                      .token = token,
                      .path = strdup(path),
                      .data = data,
                      .len = len,
                      .mode = mode};
    int rc = job.path != NULL ? submit(offload, &job) : UV_ENOMEM;
    if (rc < 0)
        free(job.path);
    return rc;
}

int vf_offload_finish(struct vf_offload *offload, double token, struct vf_snapb *builder,
                      uint64_t version)
{
    return submit(
        offload,
        &(struct job){.kind = &finishing, .token = token, .builder = builder, .version = version});
}

void vf_offload_free(struct vf_offload *offload, struct vf_snapb *builder)
{
    struct job job = {.kind = &letting_go};
    vf_snapb_free_but_block(builder, &job.map, &job.len, &job.fd);
    if (job.len < MUCH_BYTES || submit(offload, &job) < 0)
        let_go(&job);
}

void vf_offload_trim(struct vf_offload *offload)
{
    (void)submit(offload, &(struct job){.kind = &trimming, .fd = -1}); /* the next one may do it */
}
