/* The lists of a dictionary: an entry with references to its first and last element. */
#include <string.h>

#include "snapshot/dict/core.h"
#include "snapshot/dict/undo.h"

enum { ELEMENT = sizeof(struct vf_shard_element) };

/* --- Elements --- */

static void write_element(struct vf_shard *shard, uint32_t at, const struct vf_dict_value *value)
{
    struct vf_shard_element *element = vf_shard_element_at(shard, at);
    element->type = value->type;
    element->len = 0;
    if (value->type == VF_DICT_STRING) {
        element->len = (uint32_t)value->len;
        vf_shard_write(shard, at, ELEMENT, 0, value->data, value->len);
    } else if (value->type == VF_DICT_NUMBER) {
        element->number = value->number;
    } else {
        element->integer = value->type == VF_DICT_BOOLEAN ? value->integer != 0 : value->integer;
    }
}

static int read_element(const struct vf_shard *shard, uint32_t at, char *buffer, size_t room,
                        struct vf_dict_value *out)
{
    const struct vf_shard_element *element = vf_shard_element_at(shard, at);
    *out = (struct vf_dict_value){.type = element->type};
    if (element->type == VF_DICT_NUMBER) {
        out->number = element->number;
    } else if (element->type != VF_DICT_STRING) {
        out->integer = element->integer;
    } else {
        out->len = element->len;
        if (out->len > room)
            return VF_DICT_SMALL;
        vf_shard_read(shard, at, ELEMENT, 0, buffer, out->len);
        out->data = buffer;
    }
    return VF_DICT_OK;
}

static void link_first(struct vf_shard *shard, struct vf_shard_entry *entry, uint32_t at)
{
    struct vf_shard_element *element = vf_shard_element_at(shard, at);
    vf_shard_put(shard, &element->previous, 0);
    vf_shard_put(shard, &element->next, entry->list.head);
    if (entry->list.head != 0)
        vf_shard_put(shard, &vf_shard_element_at(shard, entry->list.head)->previous, at);
    else
        vf_shard_put(shard, &entry->list.tail, at);
    vf_shard_put(shard, &entry->list.head, at);
}

static void link_last(struct vf_shard *shard, struct vf_shard_entry *entry, uint32_t at)
{
    struct vf_shard_element *element = vf_shard_element_at(shard, at);
    vf_shard_put(shard, &element->next, 0);
    vf_shard_put(shard, &element->previous, entry->list.tail);
    if (entry->list.tail != 0)
        vf_shard_put(shard, &vf_shard_element_at(shard, entry->list.tail)->next, at);
    else
        vf_shard_put(shard, &entry->list.head, at);
    vf_shard_put(shard, &entry->list.tail, at);
}

/* Takes the element at one end out of its list. There are others. */
static void unlink_end(struct vf_shard *shard, struct vf_shard_entry *entry, enum vf_dict_end end)
{
    if (end == VF_DICT_HEAD) {
        uint32_t next = vf_shard_element_at(shard, entry->list.head)->next;
        vf_shard_put(shard, &entry->list.head, next);
        vf_shard_put(shard, &vf_shard_element_at(shard, next)->previous, 0);
    } else {
        uint32_t previous = vf_shard_element_at(shard, entry->list.tail)->previous;
        vf_shard_put(shard, &entry->list.tail, previous);
        vf_shard_put(shard, &vf_shard_element_at(shard, previous)->next, 0);
    }
    vf_shard_put(shard, &entry->value_len, entry->value_len - 1);
}

/* --- Pushing --- */

static bool is_element(const struct vf_dict_value *value)
{
    return value->type >= VF_DICT_BOOLEAN && value->type <= VF_DICT_STRING;
}

static int push(const struct vf_dict_key *key, enum vf_dict_end end,
                const struct vf_dict_value *value, uint64_t now_ns, uint32_t *length)
{
    struct vf_shard *shard = key->shard;
    uint32_t at = vf_dict_use(key, now_ns), n_evicted = 0;
    if (at != 0 && vf_shard_entry_at(shard, at)->type != VF_DICT_LIST)
        return VF_DICT_TYPE;
    uint32_t for_value =
        vf_shard_chunks_for(ELEMENT, value->type == VF_DICT_STRING ? value->len : 0);
    uint32_t for_entry = at != 0 ? 0 : vf_shard_chunks_for(sizeof(struct vf_shard_entry), key->len);
    if (!vf_shard_make_room(shard, for_value + for_entry, at, true, now_ns, &n_evicted))
        return vf_dict_refuse(shard);
    if (at == 0) {
        at = vf_shard_take(shard, for_entry);
        vf_dict_begin_entry(key, at, VF_DICT_LIST, 0);
    }
    struct vf_shard_entry *entry = vf_shard_entry_at(shard, at);
    uint32_t element = vf_shard_take(shard, for_value);
    write_element(shard, element, value);
    if (end == VF_DICT_HEAD)
        link_first(shard, entry, element);
    else
        link_last(shard, entry, element);
    vf_shard_put(shard, &entry->value_len, entry->value_len + 1);
    *length = entry->value_len;
    return VF_DICT_OK;
}

int vf_dict_push(struct vf_dict *dict, const char *key, size_t key_len, enum vf_dict_end end,
                 const struct vf_dict_value *value, uint64_t now_ns, uint32_t *length)
{
    struct vf_dict_key place;
    uint32_t ignored;
    if (!is_element(value))
        return VF_DICT_TYPE;
    int rc = vf_dict_enter(dict, key, key_len, &place);
    if (rc != VF_DICT_OK)
        return rc;
    if (value->type == VF_DICT_STRING && value->len > vf_dict_max_bytes(place.shard) - key_len)
        rc = VF_DICT_TOO_LARGE;
    else
        rc = push(&place, end, value, now_ns, length != NULL ? length : &ignored);
    vf_shard_unlock(place.shard);
    return rc;
}

/* --- Popping --- */

static int pop(const struct vf_dict_key *key, enum vf_dict_end end, uint64_t now_ns, char *buffer,
               size_t room, struct vf_dict_value *out)
{
    struct vf_shard *shard = key->shard;
    uint32_t at = vf_dict_use(key, now_ns);
    struct vf_shard_entry *entry = at != 0 ? vf_shard_entry_at(shard, at) : NULL;
    if (entry == NULL)
        return VF_DICT_ABSENT;
    if (entry->type != VF_DICT_LIST)
        return VF_DICT_TYPE;
    uint32_t element = end == VF_DICT_HEAD ? entry->list.head : entry->list.tail;
    int rc = read_element(shard, element, buffer, room, out);
    if (rc != VF_DICT_OK)
        return rc;
    if (entry->value_len == 1) { /* the list goes */
        vf_shard_put(shard, &entry->list.head, 0);
        vf_shard_drop(shard, at);
    } else {
        unlink_end(shard, entry, end);
    }
    vf_shard_give(shard, element);
    return VF_DICT_OK;
}

int vf_dict_pop(struct vf_dict *dict, const char *key, size_t key_len, enum vf_dict_end end,
                uint64_t now_ns, char *buffer, size_t room, struct vf_dict_value *out)
{
    struct vf_dict_key place;
    int rc = vf_dict_enter(dict, key, key_len, &place);
    if (rc != VF_DICT_OK)
        return rc;
    rc = pop(&place, end, now_ns, buffer, room, out);
    vf_shard_unlock(place.shard);
    return rc;
}

int vf_dict_length(struct vf_dict *dict, const char *key, size_t key_len, uint64_t now_ns,
                   uint32_t *length)
{
    struct vf_dict_key place;
    int rc = vf_dict_enter(dict, key, key_len, &place);
    if (rc != VF_DICT_OK)
        return rc;
    struct vf_shard_entry *entry;
    rc = vf_dict_use_as(&place, VF_DICT_LIST, now_ns, &entry);
    if (rc == VF_DICT_OK)
        *length = entry != NULL ? entry->value_len : 0;
    vf_shard_unlock(place.shard);
    return rc;
}
