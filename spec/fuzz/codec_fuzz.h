/* What the fuzz targets of both codecs share: a message read whole, and again in small pieces. */
#ifndef VF_SPEC_FUZZ_CODEC_FUZZ_H
#define VF_SPEC_FUZZ_CODEC_FUZZ_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "http/h1_parse.h"
#include "http/h1_write.h"
#include "http/method.h"

struct seen {
    uint64_t hash;
    size_t bytes;
};

static void on_slice(void *owner, struct vf_str slice)
{
    struct seen *seen = owner;
    for (size_t i = 0; i < slice.len; i++)
        seen->hash = vf_hash_mix(seen->hash ^ (unsigned char)slice.data[i]) + 1;
    seen->bytes += slice.len;
}

static void same_text(struct vf_str a, struct vf_str b)
{
    if (!vf_str_eq(a, b))
        abort();
}

/* A head of `len` bytes was accepted and read into `head`: llhttp reads it in the same way. */
static void ask_llhttp(llhttp_type_t type, const char *data, size_t len, const struct vf_head *head)
{
    static const struct vf_h1_limits limits = {4096, 50, 1024};
    size_t skip = data[0] == '\r' ? 2 : 0, name = 0, offset;
    struct vf_arena arena;
    struct vf_h1 h1;
    struct vf_head other;
    struct vf_fault fault;
    const char *rule;
    vf_arena_init(&arena);
    const char *copy = vf_arena_strndup(&arena, data + skip, len - skip);
    vf_h1_begin(&h1, &arena, &limits, &other);
    vf_h1_begin_llhttp(&h1, type);
    if (type == HTTP_REQUEST && head->method == VF_METHOD_OTHER) { /* llhttp knows a list */
        llhttp_execute(&h1.parser, "POST", 4);
        name = head->method_name.len;
    }
    if (vf_h1_check_lines(copy, len - skip, &rule, &offset) < 0 ||
        vf_h1_parse_head(&h1, copy + name, len - skip - name, &fault) < 0 ||
        other.fields.count != head->fields.count || other.fields.present != head->fields.present ||
        (h1.parser.http_minor != 0) != head->version_minor)
        abort();
    for (uint32_t i = 0; i < other.fields.count; i++) {
        same_text(other.fields.list[i].name, head->fields.list[i].name);
        same_text(other.fields.list[i].value, head->fields.list[i].value);
    }
    vf_arena_deinit(&arena);
}

typedef int (*head_reader)(struct vf_h1 *h1, struct vf_arena *arena, const char *data, size_t len,
                           struct vf_head *head);

/* Reads one message, its content in pieces of `piece` bytes. Returns how it ended: -2 incomplete,
 * -1 refused, 0 complete. */
static int read_message(const char *data, size_t size, size_t piece, head_reader read_head,
                        struct seen *seen, size_t *used)
{
    struct vf_arena arena;
    struct vf_h1 h1;
    struct vf_head head;
    struct vf_fault fault;
    size_t head_len = vf_h1_head_len(data, size, 0);
    int result = -2;
    *used = 0;
    vf_arena_init(&arena);
    if (head_len > 0 && (result = read_head(&h1, &arena, data, head_len, &head)) == 0) {
        h1.owner = seen;
        h1.on_data = on_slice;
        *used = head_len;
        while (!h1.is_done && *used < size && result == 0) {
            size_t len = size - *used < piece ? size - *used : piece, taken = 0;
            result = vf_h1_body(&h1, data + *used, len, &taken, &fault);
            if (taken > len)
                abort();
            *used += taken;
            if (result == 0 && taken == 0 && !h1.is_done)
                abort(); /* no progress */
        }
        if (result == 0 && !h1.is_done)
            result = -2;
        vf_fields_drop_hop_by_hop(&head.fields);
        const struct vf_h1_framing_lines lines = {.chunked = true};
        vf_h1_write_response(&arena, &head, &lines);
        if (result == 0)
            vf_h1_write_last_chunk(&arena, &head.trailers);
    }
    vf_arena_deinit(&arena);
    return result;
}

static int fuzz_message(const char *data, size_t size, head_reader read_head)
{
    struct seen whole = {0}, pieces = {0};
    size_t used_whole, used_pieces;
    int first = read_message(data, size, SIZE_MAX, read_head, &whole, &used_whole);
    int second = read_message(data, size, 1, read_head, &pieces, &used_pieces);
    if (first == 0 && (second != 0 || used_whole != used_pieces || whole.hash != pieces.hash ||
                       whole.bytes != pieces.bytes))
        abort(); /* two readers would disagree */
    return 0;
}

#endif
