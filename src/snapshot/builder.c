#include "snapshot/builder.h"

#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/shm.h"
#include "base/str.h"
#include "snapshot/check.h"
#include "snapshot/ranking.h"
#include "snapshot/snapshot.h"
#include "snapshot/tables.h"

struct section {
    char *records;
    uint32_t count, room;
};

struct entry {                /* of the table of known texts */
    struct vf_snap_text text; /* offset 0: empty */
    uint32_t hash;
};

/* `data` is the snapshot from the beginning: the header's place, then the texts, so that their
 * offsets are final; finish appends the sections. */
struct vf_snapb {
    char *data;
    size_t size, room;
    struct vf_snap_settings settings;
    struct section sections[VF_SNAP_SECTIONS];
    struct entry *texts; /* open addressing */
    uint32_t n_texts, text_entries;
};

enum { FIRST_TEXT_ENTRIES = 1024, FIRST_DATA_BYTES = 1 << 16 };

struct vf_snapb *vf_snapb_new(void)
{
    struct vf_snapb *builder = calloc(1, sizeof(*builder));
    if (builder == NULL)
        return NULL;
    builder->room = FIRST_DATA_BYTES;
    builder->size = sizeof(struct vf_snap_header);
    builder->settings.chain = VF_SNAP_NONE;
    builder->settings.plugin_tls[0] = builder->settings.plugin_tls[1] = VF_SNAP_NONE;
    builder->data = calloc(1, builder->room);
    builder->text_entries = FIRST_TEXT_ENTRIES;
    builder->texts = calloc(builder->text_entries, sizeof(*builder->texts));
    if (builder->data != NULL && builder->texts != NULL)
        return builder;
    vf_snapb_free(builder);
    return NULL;
}

void vf_snapb_free(struct vf_snapb *builder)
{
    if (builder == NULL)
        return;
    for (int i = 0; i < VF_SNAP_SECTIONS; i++)
        free(builder->sections[i].records);
    free(builder->texts);
    free(builder->data);
    free(builder);
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

static bool reserve_records(struct section *section, uint32_t bytes, uint32_t count)
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
    struct section *wanted = &builder->sections[section];
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

static int reserve_data(struct vf_snapb *builder, size_t bytes)
{
    size_t room = builder->room;
    if (bytes > SIZE_MAX / 4 || builder->size > SIZE_MAX / 4)
        return UV_ENOMEM;
    while (room - builder->size < bytes)
        room *= 2;
    if (room == builder->room)
        return 0;
    char *data = realloc(builder->data, room);
    if (data == NULL)
        return UV_ENOMEM;
    builder->data = data;
    builder->room = room;
    return 0;
}

/* Returns the entry of a known text, or the empty one where it belongs. */
static struct entry *find_text(const struct vf_snapb *builder, struct vf_str text, uint32_t hash)
{
    uint32_t mask = builder->text_entries - 1;
    uint32_t at = hash & mask;
    for (; builder->texts[at].text.offset != 0; at = (at + 1) & mask) {
        struct entry *entry = &builder->texts[at];
        if (entry->hash == hash && entry->text.len == text.len &&
            memcmp(builder->data + entry->text.offset, text.data, text.len) == 0)
            break;
    }
    return &builder->texts[at];
}

static int grow_texts(struct vf_snapb *builder)
{
    uint32_t old_entries = builder->text_entries, mask = 2 * old_entries - 1;
    struct entry *old = builder->texts, *grown = calloc((size_t)mask + 1, sizeof(*grown));
    if (grown == NULL)
        return UV_ENOMEM;
    for (uint32_t i = 0; i < old_entries; i++) {
        uint32_t at = old[i].hash & mask;
        if (old[i].text.offset == 0)
            continue;
        while (grown[at].text.offset != 0)
            at = (at + 1) & mask;
        grown[at] = old[i];
    }
    free(old);
    builder->texts = grown;
    builder->text_entries = mask + 1;
    return 0;
}

int vf_snapb_text(struct vf_snapb *builder, const char *data, size_t len, struct vf_snap_text *out)
{
    struct vf_str text = {data, len};
    *out = (struct vf_snap_text){0, 0};
    if (len == 0)
        return 0;
    if (len > UINT32_MAX - builder->size)
        return UV_E2BIG;
    if (2 * builder->n_texts >= builder->text_entries && grow_texts(builder) < 0)
        return UV_ENOMEM;
    uint32_t hash = (uint32_t)vf_hash(data, len, 0);
    struct entry *entry = find_text(builder, text, hash);
    if (entry->text.offset == 0) {
        if (reserve_data(builder, len) < 0)
            return UV_ENOMEM;
        *entry = (struct entry){{(uint32_t)builder->size, (uint32_t)len}, hash};
        memcpy(builder->data + builder->size, data, len);
        builder->size += len;
        builder->n_texts++;
    }
    *out = entry->text;
    return 0;
}

/* --- Finishing -------------------------------------------------------------------------------- */

static bool text_fits(const struct vf_snapb *builder, struct vf_snap_text text)
{
    return text.offset <= builder->size && text.len <= builder->size - text.offset;
}

/* Returns true when ranking and tables may follow the route's references; the check of the whole
 * comes at the end. */
static bool route_is_sound(const struct vf_snapb *builder, const struct vf_snap_route *route)
{
    return route->tenant < builder->sections[VF_SNAP_TENANTS].count &&
           route->path_kind <= VF_PATH_PREFIX && text_fits(builder, route->name) &&
           text_fits(builder, route->path) &&
           (route->path_kind == VF_PATH_REGEX || route->path.len == 0 ||
            builder->data[route->path.offset] == '/');
}

static int check_input(const struct vf_snapb *builder, char *error, size_t error_size)
{
    const struct section *routes = &builder->sections[VF_SNAP_ROUTES];
    const struct section *bindings = &builder->sections[VF_SNAP_BINDINGS];
    const struct section *tenants = &builder->sections[VF_SNAP_TENANTS];
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
            builder->data[path->offset + path->len - 1] == '/')
            path->len--;
    }
}

/* Sorts the bindings by route (a counting sort) and gives each route its list. */
static int sort_bindings(struct vf_snapb *builder)
{
    struct section *section = &builder->sections[VF_SNAP_BINDINGS];
    struct vf_snap_binding *bindings = (struct vf_snap_binding *)section->records;
    struct vf_snap_route *routes =
        (struct vf_snap_route *)builder->sections[VF_SNAP_ROUTES].records;
    uint32_t n_routes = builder->sections[VF_SNAP_ROUTES].count, first = 0;
    struct vf_snap_binding *sorted = malloc(((size_t)section->count + 1) * sizeof(*sorted));
    if (sorted == NULL)
        return UV_ENOMEM;
    for (uint32_t i = 0; i < n_routes; i++)
        routes[i].bindings = (struct vf_snap_list){0, 0};
    for (uint32_t i = 0; i < section->count; i++)
        routes[bindings[i].route].bindings.count++;
    for (uint32_t i = 0; i < n_routes; i++) {
        routes[i].bindings.first = first;
        first += routes[i].bindings.count;
        routes[i].bindings.count = 0;
    }
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
    builder->sections[section] = (struct section){records, count, count};
}

static int make_tables(struct vf_snapb *builder)
{
    struct section *routes = &builder->sections[VF_SNAP_ROUTES];
    struct section *bindings = &builder->sections[VF_SNAP_BINDINGS];
    struct section *certs = &builder->sections[VF_SNAP_CLIENT_CERTS];
    uint32_t *ranked = malloc(((size_t)routes->count + 1) * sizeof(*ranked));
    struct vf_tables tables;
    if (ranked == NULL)
        return UV_ENOMEM;
    int rc =
        vf_rank_routes(builder->data, (struct vf_snap_route *)routes->records, routes->count,
                       (struct vf_snap_tenant *)builder->sections[VF_SNAP_TENANTS].records, ranked);
    if (rc == 0) {
        struct vf_tables_input input = {builder->data,
                                        (struct vf_snap_route *)routes->records,
                                        routes->count,
                                        ranked,
                                        (struct vf_snap_binding *)bindings->records,
                                        bindings->count,
                                        (struct vf_snap_client_cert *)certs->records,
                                        certs->count};
        rc = vf_tables_init(&input, &tables);
    }
    if (rc == 0) { /* the builder owns the arrays from here on */
        set_section(builder, VF_SNAP_HOSTS, tables.hosts, tables.n_hosts);
        set_section(builder, VF_SNAP_NODES, tables.nodes, tables.n_nodes);
        set_section(builder, VF_SNAP_CANDIDATES, tables.candidates, tables.n_candidates);
    }
    free(ranked);
    return rc;
}

static size_t aligned(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

static int reserve_sections(struct vf_snapb *builder)
{
    size_t bytes = 8;
    for (uint32_t i = 0; i < VF_SNAP_SECTIONS; i++)
        bytes += aligned((size_t)builder->sections[i].count * vf_snap_record_bytes(i));
    return reserve_data(builder, bytes);
}

static void append_section(struct vf_snapb *builder, uint32_t index, struct vf_snap_extent *extent)
{
    struct section *section = &builder->sections[index];
    size_t start = aligned(builder->size), bytes = vf_snap_record_bytes(index);
    memset(builder->data + builder->size, 0, start - builder->size);
    *extent = (struct vf_snap_extent){start, section->count, (uint32_t)bytes};
    if (section->count > 0)
        memcpy(builder->data + start, section->records, section->count * bytes);
    builder->size = start + section->count * bytes;
    free(section->records);
    *section = (struct section){0};
}

static int lay_out(struct vf_snapb *builder, uint64_t version)
{
    struct vf_snap_header header = {
        .magic = VF_SNAP_MAGIC,
        .layout_hash = vf_snapshot_layout_hash(),
        .version = version,
        .created_ms = vf_clock_wall_ms(),
        .settings = builder->settings,
    };
    if (reserve_sections(builder) < 0)
        return UV_ENOMEM;
    for (uint32_t i = 0; i < VF_SNAP_SECTIONS; i++)
        append_section(builder, i, &header.sections[i]);
    header.size = builder->size;
    memcpy(builder->data, &header, sizeof(header));
    return 0;
}

int vf_snapb_finish(struct vf_snapb *builder, uint64_t version, char *error, size_t error_size)
{
    int rc = check_input(builder, error, error_size);
    if (rc < 0)
        return rc;
    trim_prefixes(builder);
    if ((rc = sort_bindings(builder)) < 0 || (rc = make_tables(builder)) < 0 ||
        (rc = lay_out(builder, version)) < 0) {
        snprintf(error, error_size, "out of memory");
        return rc;
    }
    return vf_snapshot_check(builder->data, builder->size, error, error_size);
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
    return vf_shm_create_sealed("veloflux-snapshot", builder->data, builder->size);
}
