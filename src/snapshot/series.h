/* snapshot/series.h - the metrics of plugins: what one process has counted, in its block of the
 * state area. A log of records that only grows: each has some numbers and a text. There is one
 * writer, the process that has the block; it changes numbers by plain stores, through FFI. A record
 * is published whole, so a process killed at any point leaves all before it. Whoever gets the block
 * next goes on with its records, and readers sum over all blocks: counts are never lost.
 *
 * What records mean is the business of Lua (runtime/series.lua): a family is a metric, its text
 * says name, kind and help; a series belongs to a family, its text are the labels. Only gauges are
 * known here: they end with the process that set them. */
#ifndef VF_SNAPSHOT_SERIES_H
#define VF_SNAPSHOT_SERIES_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { VF_SERIES_BYTES = 512 * 1024 };

enum vf_series_flag { VF_SERIES_FAMILY = 1, VF_SERIES_GAUGE = 2 };

struct vf_series {                /* zeroed memory is an empty one */
    _Atomic uint64_t used;        /* bytes of records that are published */
    _Atomic uint64_t incarnation; /* of the process that the gauges are of; 0: of none */
    char records[VF_SERIES_BYTES - 16];
};

struct vf_series_record {
    uint32_t at;     /* where it is, from 1 on; the next call of vf_series_next continues here */
    uint32_t flags;  /* enum vf_series_flag */
    uint32_t family; /* `at` of its family; 0 for a family */
    uint32_t n_values;
    double *values; /* to be read, or written by the owner */
    const char *text;
    size_t text_len;
};

/* The process that has the block begins: gauges of the one before become 0. */
void vf_series_begin(struct vf_series *series, uint64_t incarnation);

/* Appends a record with numbers that are 0, and fills *out. Returns 0, or UV_ENOSPC. */
int vf_series_add(struct vf_series *series, uint32_t flags, uint32_t family, uint32_t n_values,
                  const char *text, size_t text_len, struct vf_series_record *out);

/* Goes to the record behind out->at; begins with at = 0. Returns 1, or 0 behind the last. */
int vf_series_next(struct vf_series *series, struct vf_series_record *out);

#endif
