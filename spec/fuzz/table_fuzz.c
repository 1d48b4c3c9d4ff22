/* Fuzzes the reader of tables: the input is a list of edits to a real generation and its delta,
 * which are then opened; if they still pass, everything is looked up and listed. An edit has 4
 * bytes: offset (two, little-endian), where and what (one: odd: the delta, even: the generation;
 * from 8 on a 32-bit number that is often an edge instead of a byte), value (one). */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/shm.h"
#include "snapshot/table/writer.h"

enum { EDIT_BYTES = 4, ENTRIES = 40, CHANGES = 60, DELTA_USED = 4096 };

static char *generation, *delta;
static size_t generation_size;
static volatile unsigned seen; /* so that reading is not optimised away */

static struct vf_str key_of(char out[16], int number)
{
    memset(out, 'k', 16);
    memcpy(out, &number, sizeof(number));
    return vf_str_make(out, 4 + (size_t)number % 12);
}

static char *copy_of(int fd, size_t size)
{
    char *copy = malloc(size);
    if (copy == NULL || pread(fd, copy, size, 0) != (ssize_t)size)
        abort();
    return copy;
}

static void change(struct vf_table *table)
{
    struct vf_change change;
    char bytes[16];
    for (int i = 0; i < CHANGES; i++) {
        struct vf_str key = key_of(bytes, i * 7 % (2 * ENTRIES));
        if (vf_change_begin(&change, table) < 0 ||
            (i % 3 == 0 ? vf_change_delete(&change, key) : vf_change_put(&change, key, key)) < 0)
            abort();
        vf_change_publish(&change);
    }
}

static void make_table(void)
{
    struct vf_tableb *builder = vf_tableb_new();
    struct vf_table *table;
    struct vf_table_stats stats;
    char bytes[16];
    int fds[2];
    for (int i = 0; i < ENTRIES; i++) {
        struct vf_str key = key_of(bytes, i);
        if (vf_tableb_add(builder, key.data, key.len, key.data, key.len) < 0)
            abort();
    }
    if (vf_tableb_finish(builder, VF_TABLE_CREDENTIALS, 1, fds) < 0 ||
        vf_table_open(fds[0], fds[1], &table) < 0)
        abort();
    change(table);
    if (vf_table_stats(table, &stats) < 0)
        abort();
    generation_size = stats.bytes;
    generation = copy_of(fds[0], generation_size);
    delta = copy_of(fds[1], DELTA_USED);
    ((struct vf_delta_header *)(void *)delta)->size = DELTA_USED;
    vf_table_close(table);
    vf_tableb_free(builder);
    close(fds[0]);
    close(fds[1]);
}

static void edit(char *memory, size_t size, const uint8_t *data)
{
    static const uint32_t edges[] = {0,          1,          2,          7,          8,
                                     0x7fffffff, 0x80000000, 0xfffffff8, 0xfffffffe, 0xffffffff};
    enum { EDGES = sizeof(edges) / sizeof(edges[0]) };
    size_t at = (size_t)(data[0] | data[1] << 8) % (size - 4);
    uint32_t number = data[3] < EDGES ? edges[data[3]] : data[3];
    if (data[2] < 8)
        memory[at] = (char)data[3];
    else
        memcpy(memory + (at & ~(size_t)3), &number, sizeof(number));
}

static int touch(void *owner, struct vf_str key, struct vf_str value)
{
    (void)owner;
    for (size_t i = 0; i < key.len; i++)
        seen += (unsigned char)key.data[i];
    for (size_t i = 0; i < value.len; i++)
        seen += (unsigned char)value.data[i];
    return 0;
}

static void read_all(struct vf_table *table)
{
    struct vf_table_stats stats;
    struct vf_str value;
    char bytes[16];
    for (int i = 0; i < 3 * ENTRIES; i++)
        if (vf_table_get(table, key_of(bytes, i), &value) == 1)
            touch(NULL, value, value);
    vf_table_each(table, touch, NULL);
    vf_table_stats(table, &stats);
    seen += (unsigned)vf_table_sequence(table) + vf_table_kind(table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vf_table *table;
    if (generation == NULL)
        make_table();
    char *a = malloc(generation_size), *b = malloc(DELTA_USED);
    memcpy(a, generation, generation_size);
    memcpy(b, delta, DELTA_USED);
    size_t half = size / 2 / EDIT_BYTES * EDIT_BYTES, i = 0;
    for (; i < half; i += EDIT_BYTES)
        edit(data[i + 2] % 2 == 0 ? a : b, data[i + 2] % 2 == 0 ? generation_size : DELTA_USED,
             data + i);
    if (vf_table_open_memory(a, generation_size, b, DELTA_USED, &table) == 0) {
        read_all(table);
        for (; i + EDIT_BYTES <= size; i += EDIT_BYTES) /* a writer gone mad, under our eyes */
            edit(b, DELTA_USED, data + i);
        read_all(table);
        vf_table_close(table);
    }
    free(a);
    free(b);
    return 0;
}
