#include "snapshot/series.h"

#include <stdbool.h>
#include <string.h>
#include <uv.h>

struct record { /* numbers and text follow; a multiple of 8 bytes */
    uint32_t bytes;
    uint32_t flags;
    uint32_t family;
    uint32_t n_values;
    uint64_t text_len;
};

static uint64_t size_of(uint64_t n_values, uint64_t text_len)
{
    return sizeof(struct record) + n_values * sizeof(double) + (text_len + 7) / 8 * 8;
}

static void show(struct record *record, uint32_t at, struct vf_series_record *out)
{
    double *values = (double *)(record + 1);
    *out = (struct vf_series_record){.at = at + 1,
                                     .flags = record->flags,
                                     .family = record->family,
                                     .n_values = record->n_values,
                                     .values = values,
                                     .text = (const char *)(values + record->n_values),
                                     .text_len = record->text_len};
}

int vf_series_add(struct vf_series *series, uint32_t flags, uint32_t family, uint32_t n_values,
                  const char *text, size_t text_len, struct vf_series_record *out)
{
    uint64_t used = atomic_load_explicit(&series->used, memory_order_relaxed);
    if (n_values > VF_SERIES_BYTES || text_len > VF_SERIES_BYTES ||
        size_of(n_values, text_len) > sizeof(series->records) - used)
        return UV_ENOSPC;
    struct record *record = (struct record *)(series->records + used);
    memset(record, 0, size_of(n_values, text_len));
    record->bytes = (uint32_t)size_of(n_values, text_len);
    record->flags = flags;
    record->family = family;
    record->n_values = n_values;
    record->text_len = text_len;
    show(record, (uint32_t)used, out);
    memcpy((char *)out->text, text, text_len);
    atomic_store_explicit(&series->used, used + record->bytes, memory_order_release);
    return 0;
}

/* Readers look at memory that another process writes: nothing there leads them astray. */
static bool is_sound(const struct record *record, uint64_t room)
{
    return record->bytes <= room && record->n_values <= VF_SERIES_BYTES &&
           record->text_len <= VF_SERIES_BYTES &&
           record->bytes == size_of(record->n_values, record->text_len);
}

int vf_series_next(struct vf_series *series, struct vf_series_record *out)
{
    uint64_t used = atomic_load_explicit(&series->used, memory_order_acquire), at = 0;
    if (used > sizeof(series->records))
        return 0;
    if (out->at != 0)
        at = out->at - 1 + size_of(out->n_values, out->text_len);
    struct record *record = (struct record *)(series->records + at);
    if (at + sizeof(*record) > used || !is_sound(record, used - at))
        return 0;
    show(record, (uint32_t)at, out);
    return 1;
}

void vf_series_begin(struct vf_series *series, uint64_t incarnation)
{
    struct vf_series_record record = {0};
    if (atomic_load(&series->incarnation) == incarnation)
        return;
    atomic_store(&series->incarnation, 0);
    while (vf_series_next(series, &record))
        if ((record.flags & VF_SERIES_GAUGE) != 0)
            memset(record.values, 0, record.n_values * sizeof(double));
    atomic_store(&series->incarnation, incarnation);
}
