#include "snapshot/builder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "base/hash.h"
#include "base/shm.h"
#include "base/str.h"
#include "snapshot/assembly.h"
#include "snapshot/builder_core.h"
#include "snapshot/check.h"
#include "snapshot/ranking.h"
#include "snapshot/reuse.h"
#include "snapshot/snapshot.h"
#include "snapshot/tables.h"
#include "snapshot/texts.h"

enum { WORN_BYTES = 1 << 18 }; /* of texts, whatever there were at first */

static struct vf_snapb *make(struct vf_texts *texts)
{
    struct vf_snapb *builder = calloc(1, sizeof(*builder));
    if (builder == NULL) {
        vf_texts_release(&texts);
        return NULL;
    }
    builder->settings.chain = VF_SNAP_NONE;
    builder->settings.plugin_tls[0] = builder->settings.plugin_tls[1] = VF_SNAP_NONE;
    builder->fd = -1;
    builder->texts = texts;
    builder->text_bytes = sizeof(struct vf_snap_header);
    builder->secrets = vf_texts_new(1);
    if (builder->texts != NULL && builder->secrets != NULL)
        return builder;
    vf_snapb_free(builder);
    return NULL;
}

struct vf_snapb *vf_snapb_new(void)
{
    return make(vf_texts_new(sizeof(struct vf_snap_header)));
}

struct vf_snapb *vf_snapb_new_after(const struct vf_snapb *base)
{
    struct vf_snapb *builder = make(vf_texts_retain(base->texts));
    if (builder != NULL) {
        builder->fresh_texts = base->fresh_texts;
        builder->text_bytes = base->text_bytes;
    }
    return builder;
}

int vf_snapb_is_worn(const struct vf_snapb *base)
{
    return base->data == NULL || base->texts->size > 2 * base->fresh_texts + WORN_BYTES;
}

void vf_snapb_free_but_block(struct vf_snapb *builder, void **map, size_t *size, int *fd)
{
    *map = (void *)builder->data;
    *size = builder->size;
    *fd = builder->fd;
    for (int i = 0; i < VF_SNAP_SECTIONS; i++)
        free(builder->sections[i].records);
    vf_texts_release(&builder->texts);
    vf_texts_release(&builder->secrets);
    free(builder->old_ranks);
    free(builder);
}

void vf_snapb_free(struct vf_snapb *builder)
{
    void *map;
    size_t size;
    int fd;
    if (builder == NULL)
        return;
    vf_snapb_free_but_block(builder, &map, &size, &fd);
    vf_shm_unmap(map, size);
    if (fd >= 0)
        close(fd);
}

struct vf_snap_settings *vf_snapb_settings(struct vf_snapb *builder)
{
    return &builder->settings;
}

uint64_t vf_snapb_hash(const char *data, size_t len, uint64_t seed)
{
    return vf_hash(data, len, seed);
}

/* --- Records ---------------------------------------------------------------------------------- */

static bool reserve_records(struct vf_snapb_section *section, uint32_t bytes, uint32_t count)
{
    uint64_t wanted = (uint64_t)section->count + count, room = section->room;
    if (wanted <= room)
        return true;
    while (room < wanted)
        room = room == 0 ? 16 : room * 2;
    if (room > UINT32_MAX)
        return false;
    char *records = realloc(section->records, room * bytes);
    if (records == NULL)
        return false;
    section->records = records;
    section->room = (uint32_t)room;
    return true;
}

void *vf_snapb_add(struct vf_snapb *builder, uint32_t section, uint32_t count, uint32_t *first)
{
    if (section >= VF_SNAP_HOSTS)
        return NULL;
    struct vf_snapb_section *wanted = &builder->sections[section];
    uint32_t bytes = vf_snap_record_bytes(section);
    if (!reserve_records(wanted, bytes, count))
        return NULL;
    *first = wanted->count;
    wanted->count += count;
    char *record = wanted->records + (size_t)*first * bytes;
    return memset(record, 0, (size_t)count * bytes);
}

void *vf_snapb_record(struct vf_snapb *builder, uint32_t section, uint32_t index)
{
    if (section >= VF_SNAP_HOSTS || index >= builder->sections[section].count)
        return NULL;
    return builder->sections[section].records + (size_t)index * vf_snap_record_bytes(section);
}

/* --- Texts ------------------------------------------------------------------------------------ */

int vf_snapb_text(struct vf_snapb *builder, const char *data, size_t len, struct vf_snap_text *out)
{
    int rc = vf_texts_add(builder->texts, vf_str_make(data, len), out);
    if (rc == 0 && (size_t)out->offset + out->len > builder->text_bytes)
        builder->text_bytes = (size_t)out->offset + out->len;
    return rc;
}

int vf_snapb_secret(struct vf_snapb *builder, const char *data, size_t len,
                    struct vf_snap_text *out)
{
    int rc = vf_texts_add(builder->secrets, vf_str_make(data, len), out);
    if (rc == 0 && out->len > 0)
        out->offset |= VF_SNAPB_SECRET;
    return rc;
}

/* --- Finishing -------------------------------------------------------------------------------- */

static bool text_fits(const struct vf_snapb *builder, struct vf_snap_text text)
{
    return text.offset <= builder->text_bytes && text.len <= builder->text_bytes - text.offset;
}

/* Returns true when ranking and tables may follow the route's references; the check of the whole
 * comes at the end. */
static bool route_is_sound(const struct vf_snapb *builder, const struct vf_snap_route *route)
{
    return route->tenant < builder->sections[VF_SNAP_TENANTS].count &&
           route->path_kind <= VF_PATH_PREFIX && text_fits(builder, route->name) &&
           text_fits(builder, route->path) &&
           (route->path_kind == VF_PATH_REGEX || route->path.len == 0 ||
            builder->texts->data[route->path.offset] == '/');
}

static int check_input(const struct vf_snapb *builder, char *error, size_t error_size)
{
    const struct vf_snapb_section *routes = &builder->sections[VF_SNAP_ROUTES];
    const struct vf_snapb_section *bindings = &builder->sections[VF_SNAP_BINDINGS];
    const struct vf_snapb_section *tenants = &builder->sections[VF_SNAP_TENANTS];
    for (uint32_t i = 0; i < tenants->count; i++)
        if (!text_fits(builder, ((struct vf_snap_tenant *)tenants->records)[i].name))
            return snprintf(error, error_size, "tenant %u: name", i), UV_EINVAL;
    for (uint32_t i = 0; i < routes->count; i++)
        if (!route_is_sound(builder, (struct vf_snap_route *)routes->records + i))
            return snprintf(error, error_size, "route %u: path, name or tenant", i), UV_EINVAL;
    for (uint32_t i = 0; i < bindings->count; i++) {
        const struct vf_snap_binding *binding = (struct vf_snap_binding *)bindings->records + i;
        if (binding->route >= routes->count || !text_fits(builder, binding->host))
            return snprintf(error, error_size, "binding %u: route or host", i), UV_EINVAL;
    }
    return 0;
}

/* "/api" and "/api/" are the same prefix: it is kept without the slash. */
static void trim_prefixes(struct vf_snapb *builder)
{
    struct vf_snap_route *routes =
        (struct vf_snap_route *)builder->sections[VF_SNAP_ROUTES].records;
    for (uint32_t i = 0; i < builder->sections[VF_SNAP_ROUTES].count; i++) {
        struct vf_snap_text *path = &routes[i].path;
        if (routes[i].path_kind == VF_PATH_PREFIX && path->len > 0 &&
            builder->texts->data[path->offset + path->len - 1] == '/')
            path->len--;
    }
}

/* Gives each route the list of its bindings, as if they were sorted. Returns whether they are. */
static bool list_bindings(struct vf_snapb *builder)
{
    const struct vf_snapb_section *section = &builder->sections[VF_SNAP_BINDINGS];
    const struct vf_snap_binding *bindings = (struct vf_snap_binding *)section->records;
    struct vf_snap_route *routes =
        (struct vf_snap_route *)builder->sections[VF_SNAP_ROUTES].records;
    uint32_t n_routes = builder->sections[VF_SNAP_ROUTES].count, first = 0;
    bool is_sorted = true;
    for (uint32_t i = 0; i < n_routes; i++)
        routes[i].bindings.count = 0;
    for (uint32_t i = 0; i < section->count; i++) {
        is_sorted = is_sorted && (i == 0 || bindings[i - 1].route <= bindings[i].route);
        routes[bindings[i].route].bindings.count++;
    }
    for (uint32_t i = 0; i < n_routes; i++) {
        routes[i].bindings.first = first;
        first += routes[i].bindings.count;
    }
    return is_sorted;
}

/* Sorts the bindings by route (a counting sort), unless they were added so. */
static int sort_bindings(struct vf_snapb *builder)
{
    struct vf_snapb_section *section = &builder->sections[VF_SNAP_BINDINGS];
    struct vf_snap_binding *bindings = (struct vf_snap_binding *)section->records;
    struct vf_snap_route *routes =
        (struct vf_snap_route *)builder->sections[VF_SNAP_ROUTES].records;
    if (list_bindings(builder))
        return 0;
    struct vf_snap_binding *sorted = malloc(((size_t)section->count + 1) * sizeof(*sorted));
    if (sorted == NULL)
        return UV_ENOMEM;
    for (uint32_t i = 0; i < builder->sections[VF_SNAP_ROUTES].count; i++)
        routes[i].bindings.count = 0;
    for (uint32_t i = 0; i < section->count; i++) {
        struct vf_snap_list *list = &routes[bindings[i].route].bindings;
        sorted[list->first + list->count++] = bindings[i];
    }
    free(section->records);
    section->records = (char *)sorted;
    section->room = section->count + 1;
    return 0;
}

static void set_section(struct vf_snapb *builder, uint32_t section, void *records, uint32_t count)
{
    builder->sections[section] = (struct vf_snapb_section){records, count, count};
}

static int rank_routes(struct vf_snapb *builder, uint32_t *ranked)
{
    struct vf_snapb_section *routes = &builder->sections[VF_SNAP_ROUTES];
    struct vf_ranking_input input = {
        .base = builder->texts->data,
        .routes = (struct vf_snap_route *)routes->records,
        .n_routes = routes->count,
        .tenants = (struct vf_snap_tenant *)builder->sections[VF_SNAP_TENANTS].records,
    };
    if (builder->n_old_routes == routes->count) {
        input.old_ranks = builder->old_ranks;
        input.n_old_ranks = builder->n_old_ranks;
    }
    return vf_rank_routes(&input, ranked);
}

/* Makes the tables of ranked routes, or takes those of the snapshot before. */
static int find_tables(const struct vf_snapb *builder, const uint32_t *ranked,
                       struct vf_tables *out)
{
    const struct vf_snapb_section *routes = &builder->sections[VF_SNAP_ROUTES];
    const struct vf_snapb_section *bindings = &builder->sections[VF_SNAP_BINDINGS];
    const struct vf_snapb_section *certs = &builder->sections[VF_SNAP_CLIENT_CERTS];
    const struct vf_snapb *before = builder->carried_from;
    struct vf_tables_input input = {builder->texts->data,
                                    (struct vf_snap_route *)routes->records,
                                    routes->count,
                                    ranked,
                                    (struct vf_snap_binding *)bindings->records,
                                    bindings->count,
                                    (struct vf_snap_client_cert *)certs->records,
                                    certs->count};
    if (before != NULL) {
        struct vf_snapshot old = {.header = (void *)before->data, .size = before->size};
        if (vf_reuse_fits(&input, &old))
            return vf_reuse_tables(&old, out);
    }
    return vf_tables_init(&input, out);
}

static int make_tables(struct vf_snapb *builder)
{
    uint32_t n_routes = builder->sections[VF_SNAP_ROUTES].count;
    uint32_t *ranked = malloc(((size_t)n_routes + 1) * sizeof(*ranked));
    struct vf_tables tables;
    if (ranked == NULL)
        return UV_ENOMEM;
    int rc = rank_routes(builder, ranked);
    if (rc == 0)
        rc = find_tables(builder, ranked, &tables);
    if (rc == 0) { /* the builder owns the arrays from here on */
        set_section(builder, VF_SNAP_HOSTS, tables.hosts, tables.n_hosts);
        set_section(builder, VF_SNAP_NODES, tables.nodes, tables.n_nodes);
        set_section(builder, VF_SNAP_CANDIDATES, tables.candidates, tables.n_candidates);
    }
    free(ranked);
    return rc;
}

static int finish(struct vf_snapb *builder, uint64_t version, char *error, size_t error_size)
{
    int rc = check_input(builder, error, error_size);
    if (rc < 0)
        return rc;
    trim_prefixes(builder);
    if ((rc = sort_bindings(builder)) < 0 || (rc = make_tables(builder)) < 0 ||
        (rc = vf_assembly_make(builder, version)) < 0) {
        snprintf(error, error_size, "%s", uv_strerror(rc));
        return rc;
    }
    return vf_snapshot_check(builder->data, builder->size, error, error_size);
}

int vf_snapb_finish(struct vf_snapb *builder, uint64_t version, char *error, size_t error_size)
{
    int rc = finish(builder, version, error, error_size);
    builder->is_unsound = rc == UV_EINVAL;
    return rc;
}

int vf_snapb_is_unsound(const struct vf_snapb *builder)
{
    return builder->is_unsound;
}

const void *vf_snapb_data(const struct vf_snapb *builder)
{
    return builder->data;
}

size_t vf_snapb_size(const struct vf_snapb *builder)
{
    return builder->size;
}

int vf_snapb_memfd(const struct vf_snapb *builder)
{
    int fd = fcntl(builder->fd, F_DUPFD_CLOEXEC, 0);
    return fd >= 0 ? fd : -errno;
}
