#include "lua/ids.h"

#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

void vf_ids_sort(uint64_t *ids, size_t n_ids)
{
    if (n_ids > 0)
        qsort(ids, n_ids, sizeof(*ids), compare);
}
