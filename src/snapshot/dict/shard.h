/* snapshot/dict/shard.h - one shard of a dictionary: its lock, its memory, its entries.
 *
 * Memory is chunks; a reference to one is its number from 1 on, 0 is none. Entries, list elements
 * and free memory are chains of chunks by their first word.
 *
 *   lock: mutex, undo list   buckets: references by hash   chunks: [next | ...] * n
 *
 * What survives a kill at any instruction: between vf_shard_lock and vf_shard_unlock words that the
 * shard's structure depends on are changed by vf_shard_put only, which keeps the old word in the
 * undo list first. vf_shard_commit makes what was done so far final. The content of chunks that
 * were free is written without: undone, they are free again. Two rules follow. Chunks are taken
 * before others are given back within one commit, so that what was given back is not overwritten;
 * and an entry whose content is overwritten in place is named in `writing` meanwhile, and dropped
 * when its writer is killed. Only the order of the compiler matters (signal fences): a killed
 * process has executed all instructions up to one, and the kernel's hand-over of the lock orders
 * the rest.
 *
 * Used by the sources of dictionaries only. */
#ifndef VF_SNAPSHOT_DICT_SHARD_H
#define VF_SNAPSHOT_DICT_SHARD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    VF_SHARD_CHUNK = 128,
    VF_SHARD_UNDO = 48,  /* words that are changed between two commits: at most some 25 */
    VF_SHARD_WINDOW = 64 /* type of what vf_dict_slide keeps; beyond enum vf_dict_type */
};

struct vf_shard_undo {
    uint32_t place, old; /* bytes from the shard / 4, what was there */
};

struct vf_shard {
    pthread_mutex_t lock;
    uint32_t n_undo;
    uint32_t is_emptying; /* everything below is being made anew */
    uint32_t writing;     /* entry that is overwritten in place */
    uint32_t n_chunks, n_buckets;
    uint32_t fresh;          /* chunks that were ever used */
    uint32_t free, n_free;   /* chain of those given back */
    uint32_t newest, oldest; /* entries by use */
    uint32_t n_entries;
    uint32_t garbage; /* list elements without list; by `next` */
    uint32_t cursor;  /* bucket whose expired entries go next */
    uint64_t evictions, expirations, refusals, repairs, lost, emptied;
    struct vf_shard_undo undo[VF_SHARD_UNDO];
    uint32_t buckets_at, chunks_at; /* bytes from here */
};

struct vf_shard_entry { /* the first chunk of an entry; key and value bytes follow */
    uint32_t chain;
    uint32_t next;         /* in its bucket */
    uint32_t newer, older; /* by use */
    uint64_t hash;
    uint64_t expires_ns; /* 0: never */
    union {
        double number;
        int64_t integer;
        struct {
            uint32_t head, tail;
        } list;
        struct { /* of vf_dict_slide; `flags` is the number of the window */
            uint32_t current, previous;
        } window;
    };
    uint32_t value_len; /* bytes of a string; elements of a list; of a window see count.c */
    uint32_t flags;
    uint16_t key_len;
    uint8_t type, reserved;
};

struct vf_shard_element { /* the first chunk of a list element; its bytes follow */
    uint32_t chain;
    uint32_t previous, next;
    uint32_t len;
    union {
        double number;
        int64_t integer;
    };
    uint32_t type, reserved;
};

/* Makes an empty shard of `bytes` in zeroed memory. */
void vf_shard_init(struct vf_shard *shard, size_t bytes);

/* Locks, and repairs what a killed holder left. */
void vf_shard_lock(struct vf_shard *shard);

/* Commits and unlocks. */
void vf_shard_unlock(struct vf_shard *shard);

/* Removes everything. */
void vf_shard_empty(struct vf_shard *shard);

/* Returns what a reference refers to. */
void *vf_shard_at(const struct vf_shard *shard, uint32_t chunk);
struct vf_shard_entry *vf_shard_entry_at(const struct vf_shard *shard, uint32_t entry);
struct vf_shard_element *vf_shard_element_at(const struct vf_shard *shard, uint32_t element);

/* Returns the chunks that `len` bytes behind a header of `head` bytes take. */
uint32_t vf_shard_chunks_for(size_t head, size_t len);

/* Returns the chunks that are free. */
uint32_t vf_shard_n_free(const struct vf_shard *shard);

/* Takes a chain of `n` free chunks; there must be so many. */
uint32_t vf_shard_take(struct vf_shard *shard, uint32_t n);

/* Gives a chain back. */
void vf_shard_give(struct vf_shard *shard, uint32_t chain);

/* Copies `len` bytes to or from a chain, from byte `offset` behind a header of `head` bytes on. */
void vf_shard_write(struct vf_shard *shard, uint32_t chain, size_t head, size_t offset,
                    const char *data, size_t len);
void vf_shard_read(const struct vf_shard *shard, uint32_t chain, size_t head, size_t offset,
                   char *data, size_t len);

/* Returns true when the bytes there are those at `data`. */
bool vf_shard_equal(const struct vf_shard *shard, uint32_t chain, size_t head, size_t offset,
                    const char *data, size_t len);

/* Returns the first entry of bucket `index`, or 0. */
uint32_t vf_shard_first(const struct vf_shard *shard, uint32_t index);

/* Returns the entry of a key, expired or not, or 0. */
uint32_t vf_shard_find(const struct vf_shard *shard, uint64_t hash, const char *key,
                       size_t key_len);

/* As vf_shard_find, but what has expired is removed and not found. */
uint32_t vf_shard_find_alive(struct vf_shard *shard, uint64_t hash, const char *key, size_t key_len,
                             uint64_t now_ns);

/* Puts an entry, whose hash is set, into its bucket and first in the order of use; or moves it
 * there. */
void vf_shard_link(struct vf_shard *shard, uint32_t entry);
void vf_shard_touch(struct vf_shard *shard, uint32_t entry);

/* Takes an entry out and gives its chunks back; the elements of a list become garbage. */
void vf_shard_drop(struct vf_shard *shard, uint32_t entry);

bool vf_shard_has_expired(const struct vf_shard_entry *entry, uint64_t now_ns);

/* Removes expired entries from the next `n_buckets` buckets of a round through all. Returns how
 * many. */
uint32_t vf_shard_sweep(struct vf_shard *shard, uint32_t n_buckets, uint32_t max, uint64_t now_ns);

/* Makes room for `n` chunks: garbage first, then, if `evicts`, the entries used longest ago but
 * never `keep`. Commits. Returns false when there is no more; *n_evicted grows. */
bool vf_shard_make_room(struct vf_shard *shard, uint32_t n, uint32_t keep, bool evicts,
                        uint64_t now_ns, uint32_t *n_evicted);

/* Returns true when the shard adds up. The lock is held. */
bool vf_shard_check(const struct vf_shard *shard);

#endif
