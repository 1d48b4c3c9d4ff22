#include "lua/yaml.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/hash.h"

enum { BUCKETS = 4096 };

/* Anchors are counted from 1; 0: none. */
struct anchor {
    char *name;        /* owned */
    uint32_t node;     /* what it names */
    uint32_t expanded; /* nodes that it stands for; 0: still open */
    uint32_t next;     /* in its bucket: an earlier one */
};

struct open_node {
    uint32_t node;
    uint32_t last;            /* its last child so far, 0: none */
    uint32_t expanded_before; /* parser->expanded when it began */
    uint32_t anchor;
};

struct parser {
    struct vf_yaml *yaml;
    uint32_t room_nodes;
    size_t n_text, room_text;
    struct anchor *anchors;
    uint32_t n_anchors, room_anchors;
    uint32_t buckets[BUCKETS]; /* by name: the last anchor of each */
    uint64_t seed;             /* of the hash, an address: who writes the text fills no bucket */
    struct open_node open[VF_YAML_MAX_DEPTH];
    int depth;
    uint32_t expanded;
    bool has_root;
    bool out_of_memory;
};

static bool refuse(struct parser *p, const yaml_mark_t *mark, const char *message)
{
    p->yaml->error_line = (uint32_t)mark->line + 1;
    p->yaml->error_column = (uint32_t)mark->column + 1;
    snprintf(p->yaml->error, sizeof(p->yaml->error), "%s", message);
    return false;
}

static bool fail_memory(struct parser *p)
{
    p->out_of_memory = true;
    return false;
}

/* Grows an array of `size`-byte items to hold one more than `used` items. */
static bool reserve(void **items, uint32_t *room, uint32_t used, size_t size)
{
    if (used < *room)
        return true;
    uint32_t wanted = *room == 0 ? 256 : *room * 2;
    void *grown = realloc(*items, wanted * size);
    if (grown == NULL)
        return false;
    *items = grown;
    *room = wanted;
    return true;
}

static bool is_null(const char *text, size_t len)
{
    if (len == 0 || (len == 1 && text[0] == '~'))
        return true;
    return len == 4 && (memcmp(text, "null", 4) == 0 || memcmp(text, "Null", 4) == 0 ||
                        memcmp(text, "NULL", 4) == 0);
}

static bool has_reference(const char *text, size_t len)
{
    const char *dollar = memchr(text, '$', len);
    return dollar != NULL && memmem(dollar, len - (size_t)(dollar - text), "${", 2) != NULL;
}

static bool counts_as(struct parser *p, const yaml_mark_t *mark, uint32_t nodes)
{
    if (nodes > VF_YAML_MAX_NODES - p->expanded)
        return refuse(p, mark, "too many values");
    p->expanded += nodes;
    return true;
}

/* Links node `index` behind the last child of the innermost open list or map. */
static bool attach(struct parser *p, uint32_t index, const yaml_mark_t *mark)
{
    struct vf_yaml_node *nodes = p->yaml->nodes;
    if (p->depth == 0) {
        if (p->has_root)
            return refuse(p, mark, "more than one document");
        p->has_root = true;
        return true;
    }
    struct open_node *parent = &p->open[p->depth - 1];
    struct vf_yaml_node *list = &nodes[parent->node];
    if (parent->last == 0)
        list->first = index;
    else
        nodes[parent->last].next = index;
    parent->last = index;
    list->len++; /* of a map: halved at its end */
    return true;
}

static bool is_key(const struct parser *p)
{
    if (p->depth == 0)
        return false;
    const struct vf_yaml_node *parent = &p->yaml->nodes[p->open[p->depth - 1].node];
    return parent->kind == VF_YAML_MAP && parent->len % 2 == 0;
}

static struct vf_yaml_node *add_node(struct parser *p, enum vf_yaml_kind kind,
                                     const yaml_mark_t *mark)
{
    struct vf_yaml *yaml = p->yaml;
    if (!reserve((void **)&yaml->nodes, &p->room_nodes, yaml->n_nodes, sizeof(*yaml->nodes))) {
        fail_memory(p);
        return NULL;
    }
    if (!counts_as(p, mark, 1))
        return NULL;
    if (kind != VF_YAML_SCALAR && is_key(p)) {
        refuse(p, mark, "a key must be a plain text");
        return NULL;
    }
    uint32_t index = yaml->n_nodes++;
    yaml->nodes[index] = (struct vf_yaml_node){
        .kind = kind, .line = (uint32_t)mark->line + 1, .column = (uint32_t)mark->column + 1};
    return attach(p, index, mark) ? &yaml->nodes[index] : NULL;
}

static uint32_t *bucket_of(struct parser *p, const char *name)
{
    return &p->buckets[vf_hash(name, strlen(name), p->seed) % BUCKETS];
}

/* *number: which one it is. */
static bool add_anchor(struct parser *p, const yaml_event_t *event, const yaml_char_t *name,
                       struct anchor anchor, uint32_t *number)
{
    *number = 0;
    if (name == NULL)
        return true;
    if (p->n_anchors == VF_YAML_MAX_ANCHORS)
        return refuse(p, &event->start_mark, "too many anchors (&)");
    if (!reserve((void **)&p->anchors, &p->room_anchors, p->n_anchors, sizeof(anchor)) ||
        (anchor.name = strdup((const char *)name)) == NULL)
        return fail_memory(p);
    uint32_t *bucket = bucket_of(p, anchor.name);
    anchor.next = *bucket;
    p->anchors[p->n_anchors++] = anchor;
    *bucket = *number = p->n_anchors;
    return true;
}

/* A later anchor of the same name counts. */
static struct anchor *find_anchor(struct parser *p, const char *name)
{
    uint32_t at = *bucket_of(p, name);
    while (at != 0 && strcmp(p->anchors[at - 1].name, name) != 0)
        at = p->anchors[at - 1].next;
    return at != 0 ? &p->anchors[at - 1] : NULL;
}

static bool copy_text(struct parser *p, const char *text, size_t len, uint32_t *offset)
{
    if (len > p->room_text - p->n_text) {
        size_t wanted = (p->room_text + len) * 2;
        char *grown = realloc(p->yaml->texts, wanted);
        if (grown == NULL)
            return fail_memory(p);
        p->yaml->texts = grown;
        p->room_text = wanted;
    }
    if (len > 0) /* there may be no memory yet */
        memcpy(p->yaml->texts + p->n_text, text, len);
    *offset = (uint32_t)p->n_text;
    p->n_text += len;
    return true;
}

static bool on_scalar(struct parser *p, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    bool is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (event->data.scalar.tag != NULL)
        return refuse(p, &event->start_mark, "tags (!) are not supported");
    if (is_plain && is_key(p) && len == 2 && memcmp(text, "<<", 2) == 0)
        return refuse(p, &event->start_mark, "merge keys (<<) are not supported");
    struct vf_yaml_node *node = add_node(p, VF_YAML_SCALAR, &event->start_mark);
    if (node == NULL)
        return false;
    node->len = (uint32_t)len;
    node->flags = (is_plain ? 0u : (uint32_t)VF_YAML_QUOTED) |
                  (is_plain && is_null(text, len) ? (uint32_t)VF_YAML_NULL : 0u) |
                  (has_reference(text, len) ? (uint32_t)VF_YAML_DOLLAR : 0u);
    struct anchor anchor = {.node = (uint32_t)(node - p->yaml->nodes), .expanded = 1};
    uint32_t number;
    return copy_text(p, text, len, &node->text) &&
           add_anchor(p, event, event->data.scalar.anchor, anchor, &number);
}

static bool on_alias(struct parser *p, const yaml_event_t *event)
{
    struct anchor *anchor = find_anchor(p, (const char *)event->data.alias.anchor);
    if (anchor == NULL)
        return refuse(p, &event->start_mark, "an alias (*) without its anchor (&)");
    if (anchor->expanded == 0)
        return refuse(p, &event->start_mark, "an alias (*) within what it stands for");
    struct vf_yaml_node target = p->yaml->nodes[anchor->node];
    struct vf_yaml_node *node = add_node(p, target.kind, &event->start_mark);
    if (node == NULL)
        return false;
    node->flags = target.flags;
    node->text = target.text;
    node->len = target.len;
    node->first = target.first;
    return counts_as(p, &event->start_mark, anchor->expanded);
}

static bool on_open(struct parser *p, const yaml_event_t *event, enum vf_yaml_kind kind,
                    const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (tag != NULL)
        return refuse(p, &event->start_mark, "tags (!) are not supported");
    if (p->depth == VF_YAML_MAX_DEPTH)
        return refuse(p, &event->start_mark, "nested too deeply");
    uint32_t before = p->expanded;
    struct vf_yaml_node *node = add_node(p, kind, &event->start_mark);
    if (node == NULL)
        return false;
    uint32_t index = (uint32_t)(node - p->yaml->nodes);
    struct open_node *open = &p->open[p->depth++];
    *open = (struct open_node){.node = index, .expanded_before = before};
    return add_anchor(p, event, anchor, (struct anchor){.node = index}, &open->anchor);
}

static bool on_close(struct parser *p)
{
    assert(p->depth > 0);
    const struct open_node *open = &p->open[--p->depth];
    struct vf_yaml_node *node = &p->yaml->nodes[open->node];
    if (node->kind == VF_YAML_MAP)
        node->len /= 2;
    if (open->anchor != 0)
        p->anchors[open->anchor - 1].expanded = p->expanded - open->expanded_before;
    return true;
}

static bool on_event(struct parser *p, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return on_scalar(p, event);
    case YAML_ALIAS_EVENT:
        return on_alias(p, event);
    case YAML_SEQUENCE_START_EVENT:
        return on_open(p, event, VF_YAML_LIST, event->data.sequence_start.anchor,
                       event->data.sequence_start.tag);
    case YAML_MAPPING_START_EVENT:
        return on_open(p, event, VF_YAML_MAP, event->data.mapping_start.anchor,
                       event->data.mapping_start.tag);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return on_close(p);
    default:
        return true;
    }
}

/* A reader error (bad encoding, control character) has an offset and no mark. */
static yaml_mark_t mark_at(const char *data, size_t len, size_t offset)
{
    yaml_mark_t mark = {0, 0, 0};
    for (size_t i = 0; i < offset && i < len; i++) {
        mark.column++;
        if (data[i] == '\n') {
            mark.line++;
            mark.column = 0;
        }
    }
    return mark;
}

static void take_syntax_error(struct parser *p, const yaml_parser_t *from, const char *data,
                              size_t len)
{
    char message[sizeof(p->yaml->error)];
    const char *problem = from->problem != NULL ? from->problem : "unreadable";
    if (from->error == YAML_MEMORY_ERROR) {
        fail_memory(p);
    } else if (from->error == YAML_READER_ERROR) {
        yaml_mark_t mark = mark_at(data, len, from->problem_offset);
        refuse(p, &mark, problem);
    } else if (from->context != NULL) {
        snprintf(message, sizeof(message), "%s %s that begins on line %zu", problem, from->context,
                 from->context_mark.line + 1);
        refuse(p, &from->problem_mark, message);
    } else {
        refuse(p, &from->problem_mark, problem);
    }
}

static void parse_events(struct parser *p, yaml_parser_t *from, const char *data, size_t len)
{
    yaml_parser_set_input_string(from, (const unsigned char *)data, len);
    bool goes_on = true;
    while (goes_on) {
        yaml_event_t event;
        if (!yaml_parser_parse(from, &event)) {
            take_syntax_error(p, from, data, len);
            return;
        }
        goes_on = on_event(p, &event) && event.type != YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
}

static void finish(struct parser *p)
{
    struct vf_yaml *yaml = p->yaml;
    for (uint32_t i = 0; i < p->n_anchors; i++)
        free(p->anchors[i].name);
    free(p->anchors);
    if (yaml->error[0] == '\0' && !p->has_root && !p->out_of_memory) {
        yaml_mark_t start = {0, 0, 0};
        struct vf_yaml_node *root = add_node(p, VF_YAML_SCALAR, &start);
        if (root != NULL)
            root->flags = VF_YAML_NULL;
    }
    if (yaml->error[0] != '\0')
        yaml->n_nodes = 0;
}

struct vf_yaml *vf_yaml_parse(const char *data, size_t len)
{
    struct vf_yaml *yaml = calloc(1, sizeof(*yaml));
    if (yaml == NULL)
        return NULL;
    struct parser p = {.yaml = yaml, .seed = (uintptr_t)yaml};
    yaml_mark_t start = {0, 0, 0};
    yaml_parser_t from;
    if (len > VF_YAML_MAX_BYTES) {
        refuse(&p, &start, "larger than 64 MiB");
    } else if (!yaml_parser_initialize(&from)) {
        fail_memory(&p);
    } else {
        parse_events(&p, &from, data, len);
        yaml_parser_delete(&from);
    }
    finish(&p);
    if (p.out_of_memory) {
        vf_yaml_free(yaml);
        return NULL;
    }
    return yaml;
}

void vf_yaml_free(struct vf_yaml *yaml)
{
    if (yaml == NULL)
        return;
    free(yaml->nodes);
    free(yaml->texts);
    free(yaml);
}
