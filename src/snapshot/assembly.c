#include "snapshot/assembly.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "base/shm.h"
#include "snapshot/builder_core.h"
#include "snapshot/secret_fields.h"
#include "snapshot/snapshot.h"

enum { ALIGNMENT = 8, MAX_PIECES = 4 + 2 * VF_SNAP_SECTIONS };

struct assembly {
    struct vf_snap_header header;
    struct iovec pieces[MAX_PIECES];
    size_t n_pieces;
    size_t size;
};

/* Gives the secrets their places behind the other texts. */
static void place_secrets(struct vf_snapb *builder)
{
    uint32_t start = (uint32_t)(builder->text_bytes - builder->secrets->first);
    for (size_t f = 0; f < VF_SECRET_FIELDS; f++) {
        struct vf_snapb_section *section = &builder->sections[vf_secret_fields[f].section];
        uint32_t bytes = vf_snap_record_bytes(vf_secret_fields[f].section);
        for (uint32_t i = 0; i < section->count; i++) {
            char *field = section->records + (size_t)i * bytes + vf_secret_fields[f].offset;
            struct vf_snap_text *text = (struct vf_snap_text *)(void *)field;
            if (text->offset & VF_SNAPB_SECRET)
                text->offset = (text->offset & ~VF_SNAPB_SECRET) + start;
        }
    }
}

static void append(struct assembly *assembly, const void *bytes, size_t n)
{
    assembly->pieces[assembly->n_pieces++] = (struct iovec){(void *)bytes, n};
    assembly->size += n;
}

static void append_section(struct assembly *assembly, const struct vf_snapb *builder,
                           uint32_t index)
{
    static const char zeros[ALIGNMENT];
    const struct vf_snapb_section *section = &builder->sections[index];
    uint32_t bytes = vf_snap_record_bytes(index);
    append(assembly, zeros, -assembly->size & (ALIGNMENT - 1));
    assembly->header.sections[index] =
        (struct vf_snap_extent){assembly->size, section->count, bytes};
    append(assembly, section->records, (size_t)section->count * bytes);
}

static void lay_out(struct assembly *assembly, const struct vf_snapb *builder)
{
    const struct vf_texts *texts = builder->texts, *secrets = builder->secrets;
    append(assembly, &assembly->header, sizeof(assembly->header));
    append(assembly, texts->data + texts->first, builder->text_bytes - texts->first);
    append(assembly, secrets->data + secrets->first, secrets->size - secrets->first);
    for (uint32_t i = 0; i < VF_SNAP_SECTIONS; i++)
        append_section(assembly, builder, i);
    assembly->header.size = assembly->size;
}

static void free_records(struct vf_snapb *builder)
{
    for (uint32_t i = 0; i < VF_SNAP_SECTIONS; i++) {
        free(builder->sections[i].records);
        builder->sections[i] = (struct vf_snapb_section){0};
    }
}

static int write_out(struct assembly *assembly, struct vf_snapb *builder)
{
    int fd = vf_shm_gather("veloflux-snapshot", assembly->pieces, assembly->n_pieces);
    if (fd < 0)
        return uv_translate_sys_error(-fd);
    void *map = vf_shm_map(fd, 0, &builder->size);
    if (map == NULL) {
        int rc = uv_translate_sys_error(errno);
        close(fd);
        return rc;
    }
    builder->fd = fd;
    builder->data = map;
    return 0;
}

int vf_assembly_make(struct vf_snapb *builder, uint64_t version)
{
    struct assembly assembly = {.header = {
                                    .magic = VF_SNAP_MAGIC,
                                    .layout_hash = vf_snapshot_layout_hash(),
                                    .version = version,
                                    .created_ms = vf_clock_wall_ms(),
                                    .settings = builder->settings,
                                }};
    place_secrets(builder);
    lay_out(&assembly, builder);
    int rc = write_out(&assembly, builder);
    if (rc < 0)
        return rc;
    free_records(builder);
    if (builder->fresh_texts == 0)
        builder->fresh_texts = builder->text_bytes;
    return 0;
}
