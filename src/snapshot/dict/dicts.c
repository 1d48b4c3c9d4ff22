/* A set of dictionaries: a directory of names in front, the dictionaries behind it one after the
 * other. The directory only grows: an entry is written before the number that makes it count. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "snapshot/dict/core.h"

enum { PAGE = 4096 };

struct place {
    uint64_t at; /* bytes from the directory */
    char name[VF_DICT_NAME_BYTES];
};

struct vf_dicts {
    pthread_mutex_t lock; /* of those that make dictionaries */
    uint64_t bytes, used;
    _Atomic uint32_t n;
    struct place places[VF_DICTS];
};

static uint64_t pages(uint64_t bytes)
{
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

void vf_dicts_init(struct vf_dicts *dicts, size_t bytes)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&dicts->lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
    dicts->bytes = bytes;
    dicts->used = pages(sizeof(*dicts));
}

static struct vf_dict *dict_at(struct vf_dicts *dicts, uint32_t index)
{
    return (struct vf_dict *)((char *)dicts + dicts->places[index].at);
}

struct vf_dict *vf_dicts_at(struct vf_dicts *dicts, uint32_t index)
{
    return index < atomic_load(&dicts->n) ? dict_at(dicts, index) : NULL;
}

static struct vf_dict *find(struct vf_dicts *dicts, const char *name)
{
    uint32_t n = atomic_load(&dicts->n);
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(dicts->places[i].name, name) == 0)
            return dict_at(dicts, i);
    return NULL;
}

/* The memory is taken first: what somebody was killed over is not used again. */
static struct vf_dict *make(struct vf_dicts *dicts, const char *name, size_t bytes)
{
    uint32_t n = atomic_load(&dicts->n);
    uint64_t size = pages(bytes < VF_DICT_MIN_BYTES ? VF_DICT_MIN_BYTES : bytes);
    if (n == VF_DICTS || size > dicts->bytes - dicts->used)
        return NULL;
    struct place *place = &dicts->places[n];
    place->at = dicts->used;
    dicts->used = place->at + size;
    strcpy(place->name, name);
    vf_dict_init(dict_at(dicts, n), name, size);
    atomic_store(&dicts->n, n + 1);
    return dict_at(dicts, n);
}

int vf_dicts_open(struct vf_dicts *dicts, const char *name, size_t bytes, struct vf_dict **out)
{
    size_t len = strnlen(name, VF_DICT_NAME_BYTES);
    if (len == 0 || len == VF_DICT_NAME_BYTES || bytes > dicts->bytes)
        return VF_DICT_CONFIGURED;
    struct vf_dict *found = find(dicts, name);
    if (found == NULL && bytes > 0) {
        if (pthread_mutex_lock(&dicts->lock) == EOWNERDEAD)
            pthread_mutex_consistent(&dicts->lock);
        if ((found = find(dicts, name)) == NULL)
            found = make(dicts, name, bytes);
        pthread_mutex_unlock(&dicts->lock);
        if (found == NULL)
            return VF_DICT_CONFIGURED;
    }
    if (found == NULL)
        return VF_DICT_ABSENT;
    *out = found;
    return VF_DICT_OK;
}
