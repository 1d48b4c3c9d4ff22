/* snapshot/dict/dict.h - shared dictionaries: keys and values that all processes see.
 * A dictionary has a name and a size, and lives in memory that every process maps. It is divided in
 * shards by a keyed hash of the key, each behind a robust mutex of its own. Memory is cut into
 * chunks of 128 bytes, so it cannot fragment: an entry is a chain of chunks, and a short key with a
 * number is one.
 *
 * When its holder is killed inside a critical section, the next one to take the lock undoes what
 * was half done (each section keeps a list of the words it has changed) and goes on: at most the
 * entry that was being written is lost. If the shard does not add up even then it is emptied. Both
 * are counted. A section takes some 0.1 us, and grows with what one call reads, writes or evicts.
 *
 * When a shard is full the entries used longest ago make room (with VF_DICT_SAFE: only expired
 * ones, and the call fails if that does not do). Each shard is full for itself: with few large
 * values some shard may be full while others are not.
 *
 * Times: `now_ns` is vf_clock_ns(), of one moment ago at most; a time to live of 0 is for ever.
 * Expired entries are absent for every call. Functions return VF_DICT_OK or
 * another enum vf_dict_status; out parameters are set only as said. All may be called from any
 * process at any time, and from Lua through FFI: nothing calls back and nothing waits but for a
 * shard. */
#ifndef VF_SNAPSHOT_DICT_DICT_H
#define VF_SNAPSHOT_DICT_DICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    VF_DICT_KEY_BYTES = 65535,     /* the longest key; the shortest has 1 byte */
    VF_DICT_MIN_BYTES = 64 * 1024, /* the smallest dictionary */
    VF_DICT_NAME_BYTES = 64,       /* the longest name, with its NUL */
    VF_DICTS = 32                  /* dictionaries of a set */
};

enum vf_dict_status {
    VF_DICT_OK = 0,
    VF_DICT_ABSENT = -1,    /* there is no such key */
    VF_DICT_PRESENT = -2,   /* there is one already (VF_DICT_ADD) */
    VF_DICT_CONFLICT = -3,  /* another value than expected (vf_dict_swap) */
    VF_DICT_TYPE = -4,      /* the value is of another type */
    VF_DICT_NO_MEMORY = -5, /* full (VF_DICT_SAFE, or nothing is left that could make room) */
    VF_DICT_TOO_LARGE = -6, /* key or value is longer than can ever be kept, or the key is empty */
    VF_DICT_SMALL = -7,     /* the caller's buffer does not do; nothing has changed */
    VF_DICT_CONFIGURED = -8 /* vf_dicts_open: no room for another dictionary, or a bad name */
};

enum vf_dict_type {
    VF_DICT_NIL = 0, /* no value: vf_dict_set deletes */
    VF_DICT_BOOLEAN,
    VF_DICT_NUMBER,
    VF_DICT_INTEGER,
    VF_DICT_STRING,
    VF_DICT_LIST
};

struct vf_dict_value {
    uint32_t type;    /* enum vf_dict_type */
    uint32_t flags;   /* of the user, kept with the value; not of list elements */
    double number;    /* NUMBER */
    int64_t integer;  /* INTEGER; BOOLEAN: 0 or 1; LIST: its length (only read) */
    const char *data; /* STRING: its bytes, which may be any */
    size_t len;
};

enum vf_dict_how { /* of vf_dict_set, may be combined */
                   VF_DICT_SET = 0,
                   VF_DICT_ADD = 1,     /* only when the key is absent */
                   VF_DICT_REPLACE = 2, /* only when it is present */
                   VF_DICT_SAFE = 4     /* evict nothing that is not expired */
};

struct vf_dict_info {
    char name[VF_DICT_NAME_BYTES];
    uint64_t bytes;           /* of memory, as created */
    uint64_t capacity_bytes;  /* of these, for entries */
    uint64_t free_bytes;      /* of these, free: entries that have expired are not */
    uint64_t max_value_bytes; /* longest key and value together */
    uint64_t entries;         /* expired ones that nobody has come across included */
    uint64_t evictions;       /* entries that made room before their time */
    uint64_t expirations;     /* entries removed after it */
    uint64_t refusals;        /* calls that failed with VF_DICT_NO_MEMORY */
    uint64_t repairs;         /* shards taken over from a process that was killed inside */
    uint64_t lost;            /* entries lost by that */
    uint64_t emptied;         /* shards that were emptied because they did not add up */
    uint32_t shards, reserved;
};

struct vf_dict;  /* in shared memory; no pointers inside */
struct vf_dicts; /* a set of dictionaries in one region of shared memory */

/* --- Sets ------------------------------------------------------------------------------------- */

/* Makes an empty set in `bytes` of zeroed memory, aligned to a page. Only touched pages cost
 * memory. */
void vf_dicts_init(struct vf_dicts *dicts, size_t bytes);

/* Finds the dictionary called `name` (NUL-terminated), or makes one of `bytes` (0: only find, else
 * VF_DICT_MIN_BYTES at least). One that is there keeps its size. Dictionaries are never removed:
 * they go with the region. Returns VF_DICT_OK and stores it in *out; VF_DICT_ABSENT; or
 * VF_DICT_CONFIGURED when there are VF_DICTS already or the region has no room. */
int vf_dicts_open(struct vf_dicts *dicts, const char *name, size_t bytes, struct vf_dict **out);

/* Returns dictionary `index` in order of creation, or NULL behind the last. */
struct vf_dict *vf_dicts_at(struct vf_dicts *dicts, uint32_t index);

/* --- One value -------------------------------------------------------------------------------- */

/* Reads a value. A string is copied to `buffer` (`room` bytes), to which out->data points then; of
 * a list only its length is told. VF_DICT_SMALL: out->len says how long the string is. */
int vf_dict_get(struct vf_dict *dict, const char *key, size_t key_len, uint64_t now_ns,
                char *buffer, size_t room, struct vf_dict_value *out);

/* Sets a value, as `how` (enum vf_dict_how) says. Of type NIL: deletes. Lists cannot be set.
 * *n_evicted (may be NULL) is how many entries made room. */
int vf_dict_set(struct vf_dict *dict, const char *key, size_t key_len,
                const struct vf_dict_value *value, uint64_t ttl_ns, uint64_t now_ns, uint32_t how,
                uint32_t *n_evicted);

/* Sets `next` (NIL: deletes) when the value is `expected` (NIL: absent) now: type and value, flags
 * aside. Else VF_DICT_CONFLICT. */
int vf_dict_swap(struct vf_dict *dict, const char *key, size_t key_len,
                 const struct vf_dict_value *expected, const struct vf_dict_value *next,
                 uint64_t ttl_ns, uint64_t now_ns);

/* Deletes a value of any type. VF_DICT_ABSENT when there is none. */
int vf_dict_delete(struct vf_dict *dict, const char *key, size_t key_len, uint64_t now_ns);

/* Adds `by` to a NUMBER, and stores the sum in *out. An absent one begins at *init, and
 * lives for init_ttl_ns; without init (NULL) it is VF_DICT_ABSENT. The time to live of a
 * present one stays. */
int vf_dict_incr(struct vf_dict *dict, const char *key, size_t key_len, double by,
                 const double *init, uint64_t init_ttl_ns, uint64_t now_ns, double *out);

/* --- Sliding windows -------------------------------------------------------------------------- */

struct vf_dict_window { /* what vf_dict_slide says */
    uint32_t admitted, reserved;
    double used;       /* weighted, after this call */
    uint64_t reset_ns; /* until the window ends */
    /* Until the cost (with a cost of 0: one event) is admitted if nothing else comes; 0: now, or
     * this call was; UINT64_MAX: never, it is above the limit. */
    uint64_t retry_ns;
};

/* Counts `cost` events of a key in windows of `window_ns` if that keeps the estimate for the last
 * window_ns at or below `limit`: the count of this window, and that of the one before weighted by
 * how much of it the last window_ns still cover (by nothing once they do not cover its last event).
 * Keeps its own kind of value under the key, which
 * expires by itself. A cost of 0 only tells. Nothing is evicted for it, because that would be
 * lenient: VF_DICT_NO_MEMORY when there is no room. Expired entries do make room. Only entries of
 * other calls on the same dictionary may evict windows: give windows a dictionary of their own.
 * Returns VF_DICT_OK and fills *out whether admitted or not. */
int vf_dict_slide(struct vf_dict *dict, const char *key, size_t key_len, uint64_t limit,
                  uint64_t window_ns, uint64_t cost, uint64_t now_ns, struct vf_dict_window *out);

/* --- Budgets ---------------------------------------------------------------------------------- */

struct vf_dict_budget { /* what vf_dict_spend says */
    uint32_t granted, reserved;
    uint64_t left;     /* after this call */
    uint64_t reset_ns; /* until all of it is there again */
};

/* Takes `n` of a budget of `limit`, all or none, which is whole again window_ns after the first was
 * taken of it. An `n` of 0 only tells. The value is an INTEGER, what was taken, that expires then.
 * Nothing is evicted for it: VF_DICT_NO_MEMORY. Returns VF_DICT_OK and fills *out whether granted
 * or not. */
int vf_dict_spend(struct vf_dict *dict, const char *key, size_t key_len, uint64_t limit,
                  uint64_t window_ns, uint64_t n, uint64_t now_ns, struct vf_dict_budget *out);

/* --- Times to live ---------------------------------------------------------------------------- */

/* Stores in *ttl_ns how long the value will live; 0: for ever. */
int vf_dict_ttl_get(struct vf_dict *dict, const char *key, size_t key_len, uint64_t now_ns,
                    uint64_t *ttl_ns);

/* Lets the value live for ttl_ns from now on; 0: for ever. */
int vf_dict_ttl_set(struct vf_dict *dict, const char *key, size_t key_len, uint64_t ttl_ns,
                    uint64_t now_ns);

/* --- Lists ------------------------------------------------------------------------------------ */

enum vf_dict_end { VF_DICT_HEAD = 0, VF_DICT_TAIL = 1 };

/* Puts a STRING, NUMBER, INTEGER or BOOLEAN at one end of a list, which is made when absent (to
 * live for ever). *length (may be NULL) is its length then. */
int vf_dict_push(struct vf_dict *dict, const char *key, size_t key_len, enum vf_dict_end end,
                 const struct vf_dict_value *value, uint64_t now_ns, uint32_t *length);

/* Takes the element at one end, as vf_dict_get reads a value. A list goes with its last element. */
int vf_dict_pop(struct vf_dict *dict, const char *key, size_t key_len, enum vf_dict_end end,
                uint64_t now_ns, char *buffer, size_t room, struct vf_dict_value *out);

/* Stores the length of a list; of an absent one it is 0. */
int vf_dict_length(struct vf_dict *dict, const char *key, size_t key_len, uint64_t now_ns,
                   uint32_t *length);

/* --- All of it -------------------------------------------------------------------------------- */

/* Removes everything. */
void vf_dict_flush_all(struct vf_dict *dict);

/* Removes everything whose key begins with `prefix`. Returns how many. */
uint32_t vf_dict_flush_keys(struct vf_dict *dict, const char *prefix, size_t prefix_len);

/* Removes up to `max` (0: all) entries that have expired. Returns how many. */
uint32_t vf_dict_flush_expired(struct vf_dict *dict, uint32_t max, uint64_t now_ns);

/* Writes up to `max` (0: all that fit) keys that begin with `prefix` to `buffer`, each as its
 * length (uint32_t, not aligned) and its bytes, the ones used last first within each shard. Returns
 * how many; *used is the bytes written. Other calls wait meanwhile, one shard after the other: keep
 * `max` small. */
uint32_t vf_dict_keys(struct vf_dict *dict, const char *prefix, size_t prefix_len, uint32_t max,
                      uint64_t now_ns, char *buffer, size_t room, size_t *used);

/* Fills *out. */
void vf_dict_info(struct vf_dict *dict, struct vf_dict_info *out);

/* Returns true when all shards add up: every chunk is free or of one entry, and every entry is
 * where it is looked for. Slow; for specs. */
bool vf_dict_check(struct vf_dict *dict);

#endif
