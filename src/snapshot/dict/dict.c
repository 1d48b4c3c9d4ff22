#include "snapshot/dict/dict.h"
#include "snapshot/dict/undo.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>

#include "snapshot/dict/core.h"

enum { SHARD_BYTES = 512 * 1024 /* the least for a second shard */ };

/* --- Places --- */

struct vf_shard *vf_dict_shard(const struct vf_dict *dict, uint32_t index)
{
    return (struct vf_shard *)((char *)dict + VF_DICT_HEAD_BYTES + index * dict->shard_bytes);
}

void vf_dict_init(struct vf_dict *dict, const char *name, size_t bytes)
{
    size_t room = bytes - VF_DICT_HEAD_BYTES;
    strncpy(dict->name, name, sizeof(dict->name) - 1);
    dict->bytes = bytes;
    dict->n_shards = 1;
    while (dict->n_shards < VF_DICT_MAX_SHARDS && room / (dict->n_shards * 2) >= SHARD_BYTES)
        dict->n_shards *= 2;
    dict->shard_bytes = room / dict->n_shards / VF_SHARD_CHUNK * VF_SHARD_CHUNK;
    if (getrandom(&dict->key, sizeof(dict->key), 0) != sizeof(dict->key))
        dict->key.k0 = (uintptr_t)dict;
    for (uint32_t i = 0; i < dict->n_shards; i++)
        vf_shard_init(vf_dict_shard(dict, i), dict->shard_bytes);
}

int vf_dict_enter(const struct vf_dict *dict, const char *key, size_t key_len,
                  struct vf_dict_key *out)
{
    if (key_len == 0 || key_len > VF_DICT_KEY_BYTES)
        return VF_DICT_TOO_LARGE;
    out->data = key;
    out->len = key_len;
    out->hash = vf_siphash(&dict->key, key, key_len);
    out->shard = vf_dict_shard(dict, (uint32_t)(out->hash >> 48) & (dict->n_shards - 1));
    if (key_len > vf_dict_max_bytes(out->shard))
        return VF_DICT_TOO_LARGE;
    vf_shard_lock(out->shard);
    return VF_DICT_OK;
}

static uint32_t find(const struct vf_dict_key *key, uint64_t now_ns)
{
    return vf_shard_find_alive(key->shard, key->hash, key->data, key->len, now_ns);
}

uint32_t vf_dict_use(const struct vf_dict_key *key, uint64_t now_ns)
{
    uint32_t entry = find(key, now_ns);
    if (entry != 0) {
        vf_shard_touch(key->shard, entry);
        vf_shard_commit(key->shard);
    }
    return entry;
}

uint64_t vf_dict_expiry(uint64_t ttl_ns, uint64_t now_ns)
{
    uint64_t expires;
    if (ttl_ns == 0 || __builtin_add_overflow(now_ns, ttl_ns, &expires))
        return 0;
    return expires;
}

size_t vf_dict_max_bytes(const struct vf_shard *shard)
{
    return (size_t)shard->n_chunks / 2 * (VF_SHARD_CHUNK - sizeof(uint32_t)) -
           sizeof(struct vf_shard_entry);
}

int vf_dict_refuse(struct vf_shard *shard)
{
    shard->refusals++;
    return VF_DICT_NO_MEMORY;
}

/* --- Reading --- */

static int read_value(const struct vf_shard *shard, uint32_t at, char *buffer, size_t room,
                      struct vf_dict_value *out)
{
    const struct vf_shard_entry *entry = vf_shard_entry_at(shard, at);
    if (entry->type == VF_SHARD_WINDOW)
        return VF_DICT_TYPE;
    *out = (struct vf_dict_value){.type = entry->type, .flags = entry->flags};
    if (entry->type == VF_DICT_STRING) {
        out->len = entry->value_len;
        if (out->len > room)
            return VF_DICT_SMALL;
        vf_shard_read(shard, at, sizeof(*entry), entry->key_len, buffer, out->len);
        out->data = buffer;
    } else if (entry->type == VF_DICT_NUMBER) {
        out->number = entry->number;
    } else {
        out->integer = entry->type == VF_DICT_LIST ? entry->value_len : entry->integer;
    }
    return VF_DICT_OK;
}

int vf_dict_get(struct vf_dict *dict, const char *key, size_t key_len, uint64_t now_ns,
                char *buffer, size_t room, struct vf_dict_value *out)
{
    struct vf_dict_key place;
    int rc = vf_dict_enter(dict, key, key_len, &place);
    if (rc != VF_DICT_OK)
        return rc;
    uint32_t entry = vf_dict_use(&place, now_ns);
    rc = entry != 0 ? read_value(place.shard, entry, buffer, room, out) : VF_DICT_ABSENT;
    vf_shard_unlock(place.shard);
    return rc;
}

/* --- Writing --- */

static size_t content_len(const struct vf_dict_value *value)
{
    return value->type == VF_DICT_STRING ? value->len : 0;
}

static uint32_t chunks_of(const struct vf_shard_entry *entry)
{
    size_t len = entry->type == VF_DICT_STRING ? entry->value_len : 0;
    return vf_shard_chunks_for(sizeof(*entry), entry->key_len + len);
}

struct vf_shard_entry *vf_dict_begin_entry(const struct vf_dict_key *key, uint32_t chain,
                                           uint32_t type, uint64_t expires_ns)
{
    struct vf_shard_entry *entry = vf_shard_entry_at(key->shard, chain);
    entry->hash = key->hash;
    entry->expires_ns = expires_ns;
    entry->integer = 0;
    entry->value_len = entry->flags = 0;
    entry->key_len = (uint16_t)key->len;
    entry->type = (uint8_t)type;
    vf_shard_write(key->shard, chain, sizeof(*entry), 0, key->data, key->len);
    vf_shard_link(key->shard, chain);
    return entry;
}

static void write_value(struct vf_shard *shard, uint32_t at, const struct vf_dict_value *value)
{
    struct vf_shard_entry *entry = vf_shard_entry_at(shard, at);
    entry->type = (uint8_t)value->type;
    entry->flags = value->flags;
    entry->value_len = (uint32_t)content_len(value);
    if (value->type == VF_DICT_NUMBER)
        entry->number = value->number;
    else
        entry->integer = value->type == VF_DICT_BOOLEAN ? value->integer != 0 : value->integer;
    if (value->type == VF_DICT_STRING)
        vf_shard_write(shard, at, sizeof(*entry), entry->key_len, value->data, value->len);
}

/* Over what is there: a kill in between costs the entry. */
static void overwrite(struct vf_shard *shard, uint32_t at, const struct vf_dict_value *value,
                      uint64_t expires_ns)
{
    shard->writing = at;
    atomic_signal_fence(memory_order_seq_cst);
    write_value(shard, at, value);
    vf_shard_entry_at(shard, at)->expires_ns = expires_ns;
    atomic_signal_fence(memory_order_seq_cst);
    shard->writing = 0;
    vf_shard_touch(shard, at);
}

/* Makes room for `need` chunks beside the entry `*old`, which goes when there is no other way. */
static bool make_room(struct vf_shard *shard, uint32_t need, uint32_t *old, bool evicts,
                      uint64_t now_ns, uint32_t *n_evicted)
{
    if (vf_shard_make_room(shard, need, *old, evicts, now_ns, n_evicted))
        return true;
    if (*old == 0 ||
        (!evicts && vf_shard_n_free(shard) + chunks_of(vf_shard_entry_at(shard, *old)) < need))
        return false;
    vf_shard_drop(shard, *old);
    vf_shard_commit(shard);
    *old = 0;
    return vf_shard_make_room(shard, need, 0, evicts, now_ns, n_evicted);
}

/* Stores a value under a key whose entry, if there is one, is `old`. */
static int store(const struct vf_dict_key *key, uint32_t old, const struct vf_dict_value *value,
                 uint64_t expires_ns, bool evicts, uint64_t now_ns, uint32_t *n_evicted)
{
    struct vf_shard *shard = key->shard;
    uint32_t need =
        vf_shard_chunks_for(sizeof(struct vf_shard_entry), key->len + content_len(value));
    const struct vf_shard_entry *there = old != 0 ? vf_shard_entry_at(shard, old) : NULL;
    if (there != NULL && there->type != VF_DICT_LIST && chunks_of(there) == need) {
        overwrite(shard, old, value, expires_ns);
        return VF_DICT_OK;
    }
    if (!make_room(shard, need, &old, evicts, now_ns, n_evicted))
        return VF_DICT_NO_MEMORY;
    uint32_t chain = vf_shard_take(shard, need);
    vf_dict_begin_entry(key, chain, value->type, expires_ns);
    write_value(shard, chain, value);
    if (old != 0)
        vf_shard_drop(shard, old);
    return VF_DICT_OK;
}

/* Returns VF_DICT_OK for a value that the shard may keep. */
static int judge(const struct vf_dict_key *key, const struct vf_dict_value *value)
{
    if (value->type > VF_DICT_STRING)
        return VF_DICT_TYPE;
    size_t most = vf_dict_max_bytes(key->shard) - key->len;
    return content_len(value) > most ? VF_DICT_TOO_LARGE : VF_DICT_OK;
}

static int remove_entry(const struct vf_dict_key *key, uint32_t entry)
{
    if (entry == 0)
        return VF_DICT_ABSENT;
    vf_shard_drop(key->shard, entry);
    return VF_DICT_OK;
}

static int set(const struct vf_dict_key *key, const struct vf_dict_value *value, uint64_t ttl_ns,
               uint64_t now_ns, uint32_t how, uint32_t *n_evicted)
{
    uint32_t entry = find(key, now_ns);
    if ((how & VF_DICT_ADD) != 0 && entry != 0)
        return VF_DICT_PRESENT;
    if ((how & VF_DICT_REPLACE) != 0 && entry == 0)
        return VF_DICT_ABSENT;
    if (value->type == VF_DICT_NIL) {
        remove_entry(key, entry);
        return VF_DICT_OK;
    }
    return store(key, entry, value, vf_dict_expiry(ttl_ns, now_ns), (how & VF_DICT_SAFE) == 0,
                 now_ns, n_evicted);
}

/* Removes what has expired, in slices between which others get the lock. It is held on entry and
 * on return. */
static void sweep_all(struct vf_shard *shard, uint64_t now_ns)
{
    for (uint32_t at = 0; at < shard->n_buckets; at += VF_DICT_SLICE) {
        vf_shard_sweep(shard, VF_DICT_SLICE, UINT32_MAX, now_ns);
        vf_shard_unlock(shard);
        vf_shard_lock(shard);
    }
}

int vf_dict_set(struct vf_dict *dict, const char *key, size_t key_len,
                const struct vf_dict_value *value, uint64_t ttl_ns, uint64_t now_ns, uint32_t how,
                uint32_t *n_evicted)
{
    struct vf_dict_key place;
    uint32_t ignored, *evicted = n_evicted != NULL ? n_evicted : &ignored;
    int rc = vf_dict_enter(dict, key, key_len, &place);
    *evicted = 0;
    if (rc != VF_DICT_OK)
        return rc;
    if ((rc = judge(&place, value)) == VF_DICT_OK) {
        vf_shard_sweep(place.shard, 1, 2, now_ns);
        rc = set(&place, value, ttl_ns, now_ns, how, evicted);
        if (rc == VF_DICT_NO_MEMORY && (how & VF_DICT_SAFE) != 0) {
            sweep_all(place.shard, now_ns);
            rc = set(&place, value, ttl_ns, now_ns, how, evicted);
        }
        if (rc == VF_DICT_NO_MEMORY)
            vf_dict_refuse(place.shard);
    }
    vf_shard_unlock(place.shard);
    return rc;
}

static bool is_value(const struct vf_shard *shard, uint32_t at, const struct vf_dict_value *value)
{
    const struct vf_shard_entry *entry = at != 0 ? vf_shard_entry_at(shard, at) : NULL;
    if (entry == NULL || value->type == VF_DICT_NIL)
        return entry == NULL && value->type == VF_DICT_NIL;
    if (entry->type != value->type)
        return false;
    if (entry->type == VF_DICT_STRING)
        return entry->value_len == value->len &&
               vf_shard_equal(shard, at, sizeof(*entry), entry->key_len, value->data, value->len);
    if (entry->type == VF_DICT_NUMBER)
        return entry->number == value->number;
    if (entry->type == VF_DICT_BOOLEAN)
        return (entry->integer != 0) == (value->integer != 0);
    return entry->type == VF_DICT_INTEGER && entry->integer == value->integer;
}

int vf_dict_swap(struct vf_dict *dict, const char *key, size_t key_len,
                 const struct vf_dict_value *expected, const struct vf_dict_value *next,
                 uint64_t ttl_ns, uint64_t now_ns)
{
    struct vf_dict_key place;
    uint32_t n_evicted = 0;
    int rc = vf_dict_enter(dict, key, key_len, &place);
    if (rc != VF_DICT_OK)
        return rc;
    rc = judge(&place, next);
    if (rc == VF_DICT_OK && !is_value(place.shard, find(&place, now_ns), expected))
        rc = VF_DICT_CONFLICT;
    if (rc == VF_DICT_OK)
        rc = set(&place, next, ttl_ns, now_ns, VF_DICT_SET, &n_evicted);
    if (rc == VF_DICT_NO_MEMORY)
        vf_dict_refuse(place.shard);
    vf_shard_unlock(place.shard);
    return rc;
}

int vf_dict_delete(struct vf_dict *dict, const char *key, size_t key_len, uint64_t now_ns)
{
    struct vf_dict_key place;
    int rc = vf_dict_enter(dict, key, key_len, &place);
    if (rc != VF_DICT_OK)
        return rc;
    rc = remove_entry(&place, find(&place, now_ns));
    vf_shard_unlock(place.shard);
    return rc;
}

/* --- Times to live --- */

int vf_dict_ttl_get(struct vf_dict *dict, const char *key, size_t key_len, uint64_t now_ns,
                    uint64_t *ttl_ns)
{
    struct vf_dict_key place;
    int rc = vf_dict_enter(dict, key, key_len, &place);
    if (rc != VF_DICT_OK)
        return rc;
    uint32_t entry = find(&place, now_ns);
    if (entry != 0) {
        uint64_t expires = vf_shard_entry_at(place.shard, entry)->expires_ns;
        *ttl_ns = expires != 0 ? expires - now_ns : 0;
    }
    vf_shard_unlock(place.shard);
    return entry != 0 ? VF_DICT_OK : VF_DICT_ABSENT;
}

int vf_dict_ttl_set(struct vf_dict *dict, const char *key, size_t key_len, uint64_t ttl_ns,
                    uint64_t now_ns)
{
    struct vf_dict_key place;
    int rc = vf_dict_enter(dict, key, key_len, &place);
    if (rc != VF_DICT_OK)
        return rc;
    uint32_t entry = find(&place, now_ns);
    if (entry != 0)
        vf_shard_entry_at(place.shard, entry)->expires_ns = vf_dict_expiry(ttl_ns, now_ns);
    vf_shard_unlock(place.shard);
    return entry != 0 ? VF_DICT_OK : VF_DICT_ABSENT;
}
