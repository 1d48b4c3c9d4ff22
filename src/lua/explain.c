#include "lua/explain.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "http/method.h"
#include "http/target.h"

static struct vf_str field_of(void *owner, struct vf_str name)
{
    const struct vf_explain_request *request = owner;
    for (size_t i = 0; i < request->n_fields; i++)
        if (vf_str_eq(vf_str_from(request->fields[i].name), name))
            return vf_str_from(request->fields[i].value);
    return (struct vf_str){NULL, 0};
}

static int refuse(char *error, size_t error_size, const char *reason)
{
    snprintf(error, error_size, "%s", reason);
    return UV_EINVAL;
}

/* Takes the request apart as the proxy does. The path goes to `path`. */
static int prepare(const struct vf_explain_request *request, struct vf_route_query *query,
                   char *path, char *error, size_t error_size)
{
    struct vf_target target;
    struct vf_path normal;
    size_t at;
    int method = vf_method_from_name(request->method, strlen(request->method));
    if (method < 0)
        return refuse(error, error_size, "unknown method");
    if (request->host[0] != '\0' && !vf_host_is_valid(vf_str_from(request->host)))
        return refuse(error, error_size, "not a valid host");
    int rc = vf_target_parse(vf_str_from(request->target), method, &target, &at);
    if (rc == 0)
        rc = vf_path_normalise(target.path, path, &normal, &at);
    if (rc < 0)
        return refuse(error, error_size, vf_target_rule(rc).reason);
    memmove(path, normal.text.data, normal.text.len);
    path[normal.text.len] = '\0';
    *query = (struct vf_route_query){.host = vf_str_from(request->host),
                                     .path = vf_str_make(path, normal.text.len),
                                     .query = target.query,
                                     .method = (uint32_t)method,
                                     .header = field_of,
                                     .owner = (void *)request};
    return 0;
}

int vf_explain(const void *snapshot, size_t size, const struct vf_explain_request *request,
               struct vf_route_rival *rivals, size_t room, size_t *n_rivals, char *path,
               char *error, size_t error_size)
{
    struct vf_route_query query;
    struct vf_snapshot *adopted = NULL;
    int rc = prepare(request, &query, path, error, error_size);
    if (rc < 0)
        return rc;
    if ((rc = vf_snapshot_adopt(snapshot, size, &adopted)) < 0)
        return refuse(error, error_size, vf_snapshot_fault());
    struct vf_router *router = vf_router_new();
    if (router == NULL)
        rc = UV_ENOMEM;
    else
        *n_rivals = vf_route_explain(router, adopted, &query, rivals, room);
    vf_router_free(router);
    vf_snapshot_release(&adopted);
    return rc;
}

int64_t vf_explain_shadows(const void *snapshot, size_t size, struct vf_explain_shadow *shadows,
                           size_t room)
{
    struct vf_snapshot *adopted = NULL;
    int rc = vf_snapshot_adopt(snapshot, size, &adopted);
    if (rc < 0)
        return rc;
    int64_t count = 0;
    uint32_t n_routes = vf_snap_count(adopted, VF_SNAP_ROUTES);
    for (uint32_t i = 0; i < n_routes; i++) {
        uint32_t by;
        if (!vf_route_is_shadowed(adopted, i, &by))
            continue;
        if ((size_t)count < room)
            shadows[count] = (struct vf_explain_shadow){.route = i, .by = by};
        count++;
    }
    vf_snapshot_release(&adopted);
    return count;
}
