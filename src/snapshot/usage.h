/* snapshot/usage.h - usage counters: what a tenant has used, in a file that outlives every process.
 * The file `usage.counters` of the data directory is mapped by every child. It holds
 *  - a head: magic, format, dimensions, and a checksum of these;
 *  - the directory: which tenant a column is of, by its id (a hash of its name), each entry with a
 *    checksum that continues the one before it; written by the supervisor only (usage_file.h);
 *  - an index from id to column, made from the directory at every start;
 *  - rows of cells, one cell for each tenant. A row has one writer at a time: the process that
 *    holds the POSIX lock on the byte of the file with the number of the row. The kernel gives a
 *    lock back when its holder ends, however it ends, so the next process goes on from the row's
 *    counts, and leaves alone rows on which children of a killed supervisor still drain.
 * What a tenant has used is the sum over all rows: nothing is ever folded or reset. Blocks are
 * allocated on the disk before they are mapped, so no full disk ends in SIGBUS. A process killed at
 * any point loses nothing that it has counted; a power cut loses what was counted since the last
 * sync, which control makes once a second. */
#ifndef VF_SNAPSHOT_USAGE_H
#define VF_SNAPSHOT_USAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/state.h"

enum {
    VF_USAGE_FORMAT = 1,     /* grows with every change of the structs here */
    VF_USAGE_TENANTS = 8192, /* ever seen; twice as many as a snapshot may have */
    VF_USAGE_INDEX = 16384,  /* entries of the index, a power of two */
    VF_USAGE_ROWS = 512,     /* workers of three generations, and those of a killed supervisor */
    VF_USAGE_NAME_BYTES = 104
};

/* What is counted. The order is that of the file: append only, up to VF_USAGE_KINDS. */
enum vf_usage_kind {
    VF_USAGE_REQUESTS = 0,
    VF_USAGE_BYTES_IN, /* content of requests */
    VF_USAGE_BYTES_OUT,
    VF_USAGE_KINDS = 8 /* room: a cell is a line of the cache */
};

struct vf_usage_head {
    char magic[8];
    uint32_t format, tenants, index, kinds; /* VF_USAGE_* of the writer */
    uint64_t begun_wall_ms;
    uint64_t check;             /* vf_hash of what stands above */
    _Atomic uint32_t n_tenants; /* entries of the directory; written after them */
    uint32_t reserved;
};

struct vf_usage_tenant { /* an entry of the directory; its place is the column */
    uint64_t id;
    uint64_t since_wall_ms;
    char name[VF_USAGE_NAME_BYTES]; /* for people; cut, NUL-terminated */
    uint64_t check;                 /* vf_hash of what stands above, from the entry before it */
};

struct vf_usage_cell {
    vf_count counts[VF_USAGE_KINDS];
};

struct vf_usage_row {
    struct vf_usage_cell cells[VF_USAGE_TENANTS];
};

struct vf_usage_map { /* the file as it is mapped */
    union {
        struct vf_usage_head head;
        char page[4096];
    };
    struct vf_usage_tenant tenants[VF_USAGE_TENANTS];
    _Atomic uint32_t index[VF_USAGE_INDEX];  /* column + 1 by id, linear probing; 0: free */
    struct vf_usage_row rows[VF_USAGE_ROWS]; /* the file holds as many as were ever needed */
};

struct vf_usage { /* a process's view; zeros: none */
    struct vf_usage_map *map;
    struct vf_usage_row *row; /* ours to count into, or NULL */
    int fd;                   /* owned; closing any other descriptor of the file loses the row */
};

/* Maps the file behind `fd`, which the view owns from here on. Returns 0 or -errno: -EPROTO when it
 * is not such a file; fd is closed then. */
int vf_usage_open(struct vf_usage *usage, int fd);

/* Takes a row that no living process has, a new one if need be. Returns 0 or -errno: -ENOSPC when
 * the disk is full or all rows are taken, -ENOLCK where the file system has no locks. */
int vf_usage_take_row(struct vf_usage *usage);

/* Unmaps and closes; gives the row back. */
void vf_usage_close(struct vf_usage *usage);

/* Returns the column of the tenant with this id, or UINT32_MAX when the supervisor has not entered
 * it. */
uint32_t vf_usage_find(const struct vf_usage_map *map, uint64_t tenant_id);

/* Returns our cell for a tenant; NULL without a row or for an unknown tenant. Valid as long as the
 * view, whatever is published meanwhile. */
struct vf_usage_cell *vf_usage_cell(const struct vf_usage *usage, uint64_t tenant_id);

/* Adds to out[kind] what all processes, ended ones too, have counted for a tenant. */
void vf_usage_add(const struct vf_usage *usage, uint64_t tenant_id, uint64_t out[VF_USAGE_KINDS]);

/* Returns the rows that a file of `bytes` holds, at most VF_USAGE_ROWS. */
uint32_t vf_usage_rows_of(uint64_t bytes);

/* Makes the file behind `fd` hold `n_rows` rows at least (1 to VF_USAGE_ROWS), every block of them
 * on the disk. Returns 0 or -errno. */
int vf_usage_allocate(int fd, uint32_t n_rows);

/* Returns the checksum of a head, and of a directory entry behind one with the checksum `before`
 * (the head's before the first). */
uint64_t vf_usage_check_head(const struct vf_usage_head *head);
uint64_t vf_usage_check_tenant(const struct vf_usage_tenant *tenant, uint64_t before);

/* Returns true when the head is one of this format. */
bool vf_usage_is_ours(const struct vf_usage_head *head);

/* Fills a head of this format with an empty directory. */
void vf_usage_make_head(struct vf_usage_head *head);

#endif
