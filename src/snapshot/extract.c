#include "snapshot/extract.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/shm.h"
#include "snapshot/check.h"
#include "snapshot/secret_fields.h"
#include "snapshot/snapshot.h"

enum { SHORT_BYTES = 4096 /* that are read and wiped rather than read around, unless a key */ };

/* Bytes of the snapshot that one or more secret texts take. */
struct range {
    uint64_t start, end;
    bool is_key;   /* of a certificate: never read */
    bool is_plain; /* a text that is no secret says the same: builders store equal ones once */
};

struct copy {
    int from;
    char *map; /* of the copy, all zeros at first */
    size_t size;
    struct vf_snapshot snapshot; /* the same, for the accessors */
    bool keeps_client_keys;
    bool *is_kept; /* by identity: its key stays */
    uint32_t n_kept;
    struct range *secrets; /* sorted and disjoint after sort_secrets */
    size_t n_secrets, room;
    uint8_t *starts;    /* a bit for each place where a secret begins */
    uint64_t texts_end; /* texts lie between the header and the first section */
    int rc;
};

/* --- Which texts are secret ------------------------------------------------------------------- */

static bool is_secret(const struct copy *copy, const struct vf_snap_place *place)
{
    for (size_t i = 0; i < VF_SECRET_FIELDS; i++)
        if (vf_secret_fields[i].section == place->section &&
            vf_secret_fields[i].offset == place->offset)
            return place->section != VF_SNAP_IDENTITIES || !copy->is_kept[place->index];
    return false;
}

/* Returns the identity that health checks of the backend show, or VF_SNAP_NONE. */
static uint32_t shown_by(const struct vf_snapshot *snapshot, const struct vf_snap_backend *backend)
{
    if (backend->health == VF_SNAP_NONE || backend->pool >= vf_snap_count(snapshot, VF_SNAP_POOLS))
        return VF_SNAP_NONE;
    uint32_t tls = vf_snap_pool(snapshot, backend->pool)->tls;
    return tls < vf_snap_count(snapshot, VF_SNAP_UPSTREAM_TLS)
               ? vf_snap_upstream_tls(snapshot, tls)->identity
               : VF_SNAP_NONE;
}

static int choose_kept(struct copy *copy)
{
    const struct vf_snapshot *snapshot = &copy->snapshot;
    uint32_t n = vf_snap_count(snapshot, VF_SNAP_IDENTITIES);
    copy->is_kept = calloc((size_t)n + 1, sizeof(*copy->is_kept));
    if (copy->is_kept == NULL)
        return UV_ENOMEM;
    if (!copy->keeps_client_keys)
        return 0;
    for (uint32_t i = 0; i < vf_snap_count(snapshot, VF_SNAP_BACKENDS); i++) {
        uint32_t identity = shown_by(snapshot, vf_snap_backend(snapshot, i));
        if (identity < n && !copy->is_kept[identity]) {
            copy->is_kept[identity] = true;
            copy->n_kept++;
        }
    }
    return 0;
}

/* --- Where they are --------------------------------------------------------------------------- */

static bool reserve(struct copy *copy)
{
    if (copy->n_secrets < copy->room)
        return true;
    size_t room = copy->room == 0 ? 64 : 2 * copy->room;
    struct range *secrets = realloc(copy->secrets, room * sizeof(*secrets));
    if (secrets == NULL)
        return false;
    copy->secrets = secrets;
    copy->room = room;
    return true;
}

/* Calls `visit` for the texts that are secret. */
static void each_secret(struct copy *copy, void (*visit)(struct copy *copy, uint32_t section,
                                                         struct vf_snap_text *text))
{
    for (size_t f = 0; f < VF_SECRET_FIELDS; f++) {
        uint32_t section = vf_secret_fields[f].section;
        char *records = (char *)vf_snap_section(&copy->snapshot, section);
        struct vf_snap_place place = {section, 0, vf_secret_fields[f].offset};
        for (; place.index < vf_snap_count(&copy->snapshot, section); place.index++) {
            char *field =
                records + (size_t)place.index * vf_snap_record_bytes(section) + place.offset;
            if (is_secret(copy, &place))
                visit(copy, section, (struct vf_snap_text *)(void *)field);
        }
    }
}

static void note_secret(struct copy *copy, uint32_t section, struct vf_snap_text *text)
{
    if (copy->rc < 0 || text->len == 0)
        return;
    struct range range = {.start = text->offset,
                          .end = (uint64_t)text->offset + text->len,
                          .is_key = section == VF_SNAP_IDENTITIES};
    if (range.start < sizeof(struct vf_snap_header) || range.end > copy->texts_end)
        copy->rc = UV_EINVAL;
    else if (!reserve(copy))
        copy->rc = UV_ENOMEM;
    else
        copy->secrets[copy->n_secrets++] = range;
}

static int compare_ranges(const void *a, const void *b)
{
    uint64_t left = ((const struct range *)a)->start, right = ((const struct range *)b)->start;
    return (left > right) - (left < right);
}

/* Equal texts become one range; neighbours stay two, as one of them may be plain. */
static int sort_secrets(struct copy *copy)
{
    size_t n = 0;
    if (copy->n_secrets > 0)
        qsort(copy->secrets, copy->n_secrets, sizeof(*copy->secrets), compare_ranges);
    for (size_t i = 0; i < copy->n_secrets; i++) {
        struct range *last = n > 0 ? &copy->secrets[n - 1] : NULL;
        const struct range *next = &copy->secrets[i];
        if (last == NULL || next->start >= last->end) {
            copy->secrets[n++] = *next;
            continue;
        }
        last->is_key = last->is_key || next->is_key;
        last->end = next->end > last->end ? next->end : last->end;
    }
    copy->n_secrets = n;
    copy->starts = calloc(1, copy->texts_end / 8 + 1);
    if (copy->starts == NULL)
        return UV_ENOMEM;
    for (size_t i = 0; i < n; i++)
        copy->starts[copy->secrets[i].start / 8] |= (uint8_t)(1U << copy->secrets[i].start % 8);
    return 0;
}

static bool begins_secret(const struct copy *copy, uint64_t at)
{
    return at < copy->texts_end && (copy->starts[at / 8] & 1U << at % 8) != 0;
}

static void note_plain(void *owner, const struct vf_snap_place *place, struct vf_snap_text *text)
{
    struct copy *copy = owner;
    if (text->len == 0 || !begins_secret(copy, text->offset) || is_secret(copy, place))
        return;
    struct range key = {.start = text->offset};
    struct range *same = bsearch(&key, copy->secrets, copy->n_secrets, sizeof(key), compare_ranges);
    same->is_plain = true;
}

static void empty_secret(struct copy *copy, uint32_t section, struct vf_snap_text *text)
{
    (void)copy;
    (void)section;
    *text = (struct vf_snap_text){0, 0};
}

/* --- Copying ---------------------------------------------------------------------------------- */

/* Reads the bytes from `start` to `end` into their place in the copy. */
static int read_part(struct copy *copy, uint64_t start, uint64_t end)
{
    while (start < end) {
        ssize_t n = pread(copy->from, copy->map + start, end - start, (off_t)start);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : UV_EINVAL;
        start += (uint64_t)n;
    }
    return 0;
}

/* The key of sticky cookies is left out. */
static int read_header(struct copy *copy, char *fault, size_t fault_size)
{
    const size_t key =
        offsetof(struct vf_snap_header, settings) + offsetof(struct vf_snap_settings, sticky_key);
    const size_t key_bytes = sizeof(((struct vf_snap_settings *)NULL)->sticky_key);
    int rc = read_part(copy, 0, key);
    if (rc == 0)
        rc = read_part(copy, key + key_bytes, sizeof(struct vf_snap_header));
    return rc < 0 ? rc : vf_snapshot_check_frame(copy->map, copy->size, fault, fault_size);
}

/* Nobody who gets a copy looks for routes, and these are most of a large snapshot: their place
 * stays a hole. A search in one of their tables ends at once, at its one empty entry. */
static int leave_out(struct copy *copy, uint32_t section)
{
    struct vf_snap_extent *extent = &((struct vf_snap_header *)copy->map)->sections[section];
    bool is_table = section == VF_SNAP_HOSTS || section == VF_SNAP_NODES;
    if (is_table && extent->count == 0)
        return UV_EINVAL;
    extent->count = is_table;
    if (section == VF_SNAP_NODES)
        ((struct vf_snap_node *)(copy->map + extent->offset))->parent = VF_SNAP_NONE;
    return 0;
}

static bool is_of_routes(uint32_t section)
{
    return section == VF_SNAP_ROUTES || section == VF_SNAP_BINDINGS || section == VF_SNAP_HOSTS ||
           section == VF_SNAP_NODES || section == VF_SNAP_CANDIDATES;
}

static int read_sections(struct copy *copy)
{
    const struct vf_snap_header *header = copy->snapshot.header;
    int rc = 0;
    copy->texts_end = copy->size;
    for (uint32_t i = 0; rc == 0 && i < VF_SNAP_SECTIONS; i++) {
        const struct vf_snap_extent *extent = &header->sections[i];
        uint64_t bytes = (uint64_t)extent->count * extent->record_bytes;
        if (extent->offset < copy->texts_end)
            copy->texts_end = extent->offset;
        rc = is_of_routes(i) ? leave_out(copy, i)
                             : read_part(copy, extent->offset, extent->offset + bytes);
    }
    return rc;
}

/* A short secret between others is wiped as soon as it is read: reading around each would take a
 * system call for each. */
static int read_texts(struct copy *copy)
{
    uint64_t at = sizeof(struct vf_snap_header);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < copy->n_secrets; i++) {
        const struct range *secret = &copy->secrets[i];
        if (secret->is_plain || (!secret->is_key && secret->end - secret->start < SHORT_BYTES))
            continue;
        rc = read_part(copy, at, secret->start);
        at = secret->end;
    }
    if (rc == 0)
        rc = read_part(copy, at, copy->texts_end);
    for (size_t i = 0; i < copy->n_secrets; i++)
        if (!copy->secrets[i].is_plain && !copy->secrets[i].is_key)
            memset(copy->map + copy->secrets[i].start, 0,
                   copy->secrets[i].end - copy->secrets[i].start);
    return rc;
}

static int fill(struct copy *copy, char *fault, size_t fault_size)
{
    int rc = read_header(copy, fault, fault_size);
    if (rc == 0)
        rc = read_sections(copy);
    if (rc == 0)
        rc = choose_kept(copy);
    if (rc < 0)
        return rc;
    each_secret(copy, note_secret);
    if (copy->rc < 0)
        return copy->rc;
    if ((rc = sort_secrets(copy)) < 0)
        return rc;
    if (copy->n_secrets > 0)
        vf_snapshot_each_text(&copy->snapshot, note_plain, copy);
    rc = read_texts(copy);
    each_secret(copy, empty_secret);
    return rc;
}

/* Returns a sealed memfd, and stores the number of keys that stayed; or a negative code. */
static int extract(int fd, size_t size, bool keeps_client_keys, uint32_t *n_kept, char *fault,
                   size_t fault_size)
{
    struct copy copy = {.from = fd, .size = size, .keeps_client_keys = keeps_client_keys};
    void *map;
    int made = vf_shm_create("veloflux-snapshot-extract", size, &map);
    if (made < 0)
        return made;
    copy.map = map;
    copy.snapshot = (struct vf_snapshot){.header = map, .size = size};
    int rc = fill(&copy, fault, fault_size);
    *n_kept = copy.n_kept;
    free(copy.secrets);
    free(copy.starts);
    free(copy.is_kept);
    vf_shm_unmap(map, size); /* or it could not be sealed */
    if (rc == 0)
        rc = vf_shm_seal(made);
    if (rc == 0)
        return made;
    close(made);
    return rc;
}

int vf_extract_make(int fd, struct vf_extract *out, char *fault, size_t fault_size)
{
    struct stat info;
    uint32_t n_kept, n_none;
    int seals = fcntl(fd, F_GET_SEALS);
    fault[0] = '\0';
    if (seals < 0 || fstat(fd, &info) < 0)
        return -errno;
    if ((seals & F_SEAL_WRITE) == 0)
        return UV_EPERM;
    size_t size = (size_t)info.st_size;
    if (size < sizeof(struct vf_snap_header))
        return UV_EINVAL;
    int checker_fd = extract(fd, size, true, &n_kept, fault, fault_size);
    if (checker_fd < 0)
        return checker_fd;
    int bare_fd = n_kept == 0 ? fcntl(checker_fd, F_DUPFD_CLOEXEC, 0)
                              : extract(fd, size, false, &n_none, fault, fault_size);
    if (bare_fd < 0) {
        int rc = n_kept == 0 ? -errno : bare_fd;
        close(checker_fd);
        return rc;
    }
    *out = (struct vf_extract){.bare_fd = bare_fd, .checker_fd = checker_fd};
    return 0;
}
