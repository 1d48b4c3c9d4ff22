/* Heads of HTTP/2 as texts, for spec/unit/http/h2_client_spec.lua; fields are "name: value". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/h2_client.h"
#include "http/h2_fields.h"
#include "http/method.h"

static struct vf_str cut(const char **at, char separator)
{
    const char *start = *at, *end = strchr(start, separator);
    if (end == NULL)
        end = start + strlen(start);
    *at = *end == '\0' ? end : end + 1;
    return vf_str_make(start, (size_t)(end - start));
}

static void add_lines(struct vf_fields *fields, struct vf_arena *arena, const char *lines)
{
    while (*lines != '\0') {
        struct vf_str name = cut(&lines, ':');
        lines += *lines == ' ';
        struct vf_str value = cut(&lines, '\n');
        vf_fields_add(fields, arena, name, value);
    }
}

static void print(const nghttp2_nv *list, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++)
        out += sprintf(out, "%.*s: %.*s\n", (int)list[i].namelen, list[i].name,
                       (int)list[i].valuelen, list[i].value);
    *out = '\0';
}

/* `length` < 0: none. */
void h2c_request(const char *lines, int framing, long length, int te_trailers, char *out)
{
    struct vf_arena arena;
    struct vf_head head = {.method_name = VF_STR("PUT"),
                           .framing = (enum vf_framing)framing,
                           .te_trailers = te_trailers != 0};
    nghttp2_nv *list;
    vf_arena_init(&arena);
    add_lines(&head.fields, &arena, lines);
    head.has_content_length = length >= 0;
    head.content_length = length < 0 ? 0 : (uint64_t)length;
    vf_fields_drop_hop_by_hop(&head.fields);
    size_t n =
        vf_h2_client_request(&arena, &head, VF_STR("http"), VF_STR("/a"), VF_STR("host"), &list);
    print(list, n, out);
    vf_arena_deinit(&arena);
}

void h2c_trailers(const char *lines, char *out)
{
    struct vf_arena arena;
    struct vf_fields fields = {0};
    nghttp2_nv *list;
    vf_arena_init(&arena);
    add_lines(&fields, &arena, lines);
    size_t n = vf_h2_copy_trailers(&fields, &list);
    print(list, n, out);
    free(list);
    vf_arena_deinit(&arena);
}

/* Writes status, framing, length; or the rule that was broken. */
void h2c_answer(const char *lines, int is_head, int is_last, char *out)
{
    static const char *const framings[] = {"none", "length", "chunked", "close"};
    const struct vf_h1_limits limits = {.header_bytes = 200, .header_count = 5};
    struct vf_arena arena;
    struct vf_head head;
    struct vf_h2_answer answer;
    struct vf_fault fault;
    vf_arena_init(&arena);
    vf_h2_answer_begin(&answer, &arena, &head);
    while (*lines != '\0') {
        const char *rest = lines + (*lines == ':');
        struct vf_str name = cut(&rest, ':');
        name = vf_str_make(lines, name.len + (size_t)(*lines == ':'));
        rest += *rest == ' ';
        vf_h2_answer_add(&answer, &limits, name, cut(&rest, '\n'));
        lines = rest;
    }
    if (vf_h2_answer_end(&answer, &limits, is_head ? VF_METHOD_HEAD : VF_METHOD_GET, is_last,
                         &fault) < 0)
        sprintf(out, "%u %s", fault.status, fault.rule);
    else
        sprintf(out, "%u %s %ld fields=%u", head.status, framings[head.framing],
                head.has_content_length ? (long)head.content_length : -1L, head.fields.count);
    vf_arena_deinit(&arena);
}
