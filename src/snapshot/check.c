#include "snapshot/check.h"

#include <stdbool.h>
#include <stdio.h>
#include <uv.h>

#include "snapshot/lines.h"
#include "snapshot/relations.h"
#include "snapshot/rules.h"
#include "snapshot/snapshot.h"
#include "snapshot/state.h"

struct check {
    const char *base;
    size_t size;
    struct vf_snapshot snapshot; /* for the accessors */
    char *fault;
    size_t fault_size;
    struct vf_lines lines; /* of the texts */
};

static int refuse(struct check *check, const char *where, uint32_t index, const char *what)
{
    snprintf(check->fault, check->fault_size, "%s %u: %s", where, (unsigned)index, what);
    return UV_EINVAL;
}

static bool text_fits(const struct check *check, struct vf_snap_text text)
{
    return text.offset <= check->size && text.len <= check->size - text.offset;
}

static bool is_token(struct vf_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = vf_lower(text.data[i]);
        bool is_alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!is_alnum && (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL))
            return false;
    }
    return text.len > 0;
}

static bool list_fits(const struct check *check, struct vf_snap_list list, uint32_t section)
{
    uint32_t count = vf_snap_count(&check->snapshot, section);
    return list.first <= count && list.count <= count - list.first;
}

static bool holds_text(const struct check *check, const struct vf_rule *rule, const char *record)
{
    struct vf_snap_text text;
    memcpy(&text, record + rule->offset, sizeof(text));
    if (!text_fits(check, text))
        return false;
    struct vf_str bytes = vf_snap_str(&check->snapshot, text);
    if (rule->kind == VF_RULE_LINE)
        return vf_lines_has(&check->lines, bytes);
    return rule->kind == VF_RULE_TEXT || is_token(bytes);
}

static bool holds(const struct check *check, const struct vf_rule *rule, const char *record)
{
    uint32_t number;
    struct vf_snap_list list;
    memcpy(&number, record + rule->offset, sizeof(number));
    switch ((enum vf_rule_kind)rule->kind) {
    case VF_RULE_TEXT:
    case VF_RULE_LINE:
    case VF_RULE_TOKEN:
        return holds_text(check, rule, record);
    case VF_RULE_INDEX:
        return number < vf_snap_count(&check->snapshot, rule->limit);
    case VF_RULE_OPTIONAL:
        return number == VF_SNAP_NONE || number < vf_snap_count(&check->snapshot, rule->limit);
    case VF_RULE_LIST:
        memcpy(&list, record + rule->offset, sizeof(list));
        return list_fits(check, list, rule->limit);
    case VF_RULE_BELOW:
        return number < rule->limit;
    }
    return false;
}

/* --- Header and sections ---------------------------------------------------------------------- */

static int check_extents(struct check *check)
{
    for (uint32_t i = 0; i < VF_SNAP_SECTIONS; i++) {
        const struct vf_snap_extent *extent = &check->snapshot.header->sections[i];
        if (extent->record_bytes != vf_snap_record_bytes(i) || extent->offset % 8 != 0 ||
            extent->offset < sizeof(struct vf_snap_header) || extent->offset > check->size ||
            extent->count > (check->size - extent->offset) / extent->record_bytes)
            return refuse(check, "section", i, vf_rules_noun(i));
    }
    return 0;
}

static int check_header(struct check *check)
{
    const struct vf_snap_header *header = check->snapshot.header;
    if (check->size < sizeof(*header) || header->magic != VF_SNAP_MAGIC)
        return refuse(check, "header", 0, "magic");
    if (header->layout_hash != vf_snapshot_layout_hash())
        return refuse(check, "header", 0, "layout of another build");
    if (header->size != check->size)
        return refuse(check, "header", 0, "size");
    return check_extents(check);
}

static int check_settings(struct check *check)
{
    const struct vf_snap_settings *settings = &check->snapshot.header->settings;
    const struct vf_rules rules = vf_rules_of_settings();
    for (size_t i = 0; i < rules.n; i++)
        if (!holds(check, &rules.list[i], (const char *)settings))
            return refuse(check, "settings", 0, rules.list[i].field);
    if (settings->workers == 0)
        return refuse(check, "settings", 0, "workers");
    return 0;
}

/* --- Records ---------------------------------------------------------------------------------- */

/* What else such an entry holds is never looked at. */
static bool is_empty_entry(const struct check *check, uint32_t section, uint32_t index)
{
    if (section == VF_SNAP_HOSTS) {
        const struct vf_snap_host *hosts = vf_snap_section(&check->snapshot, section);
        return hosts[index].used == 0;
    }
    const struct vf_snap_node *nodes = vf_snap_section(&check->snapshot, section);
    return nodes[index].parent == VF_SNAP_NONE;
}

/* Checks the records of a section, each by all of the `n` rules: it is in the cache by then. */
static int check_section(struct check *check, const struct vf_rule *of_section, size_t n)
{
    uint32_t section = of_section->section, bytes = vf_snap_record_bytes(section);
    uint32_t count = vf_snap_count(&check->snapshot, section);
    const char *record = vf_snap_section(&check->snapshot, section);
    bool is_table = section == VF_SNAP_HOSTS || section == VF_SNAP_NODES;
    for (uint32_t i = 0; i < count; i++, record += bytes)
        for (size_t r = 0; r < n && !(is_table && is_empty_entry(check, section, i)); r++)
            if (!holds(check, &of_section[r], record))
                return refuse(check, vf_rules_noun(section), i, of_section[r].field);
    return 0;
}

static int check_fields(struct check *check)
{
    const struct vf_rules rules = vf_rules_of_records();
    int rc = 0;
    for (size_t first = 0, end; rc == 0 && first < rules.n; first = end) {
        for (end = first; end < rules.n && rules.list[end].section == rules.list[first].section;)
            end++;
        rc = check_section(check, &rules.list[first], end - first);
    }
    return rc;
}

/* Texts lie between the header and the first section. */
static size_t end_of_texts(const struct check *check)
{
    size_t end = check->size;
    for (uint32_t i = 0; i < VF_SNAP_SECTIONS; i++)
        if (check->snapshot.header->sections[i].offset < end)
            end = check->snapshot.header->sections[i].offset;
    return end;
}

static int check_records(struct check *check)
{
    for (uint32_t section = 0; section < VF_SNAP_SECTIONS; section++) {
        uint32_t count = vf_relations_has(section) ? vf_snap_count(&check->snapshot, section) : 0;
        for (uint32_t i = 0; i < count; i++) {
            const char *what = vf_relations_fault(&check->snapshot, section, i);
            if (what != NULL)
                return refuse(check, vf_rules_noun(section), i, what);
        }
    }
    return 0;
}

/* A search in a hash table ends at an empty entry, so there must be one. */
static int check_table(struct check *check, uint32_t section)
{
    uint32_t count = vf_snap_count(&check->snapshot, section);
    if (count == 0 || (count & (count - 1)) != 0)
        return refuse(check, vf_rules_noun(section), count, "table size");
    for (uint32_t i = 0; i < count; i++)
        if (is_empty_entry(check, section, i))
            return 0;
    return refuse(check, vf_rules_noun(section), count, "full table");
}

int vf_snapshot_check_frame(const void *memory, size_t size, char *fault, size_t fault_size)
{
    struct check check = {memory, size, {.header = memory, .size = size}, fault, fault_size, {0}};
    return check_header(&check);
}

static int check_all(struct check *check)
{
    int rc = check_settings(check);
    if (rc == 0)
        rc = check_fields(check);
    if (rc == 0)
        rc = check_records(check);
    if (rc == 0 &&
        !vf_relations_is_route_chain(&check->snapshot, check->snapshot.header->settings.chain))
        rc = refuse(check, "settings", 0, "chain of a consumer");
    if (rc == 0)
        rc = check_table(check, VF_SNAP_HOSTS);
    if (rc == 0)
        rc = check_table(check, VF_SNAP_NODES);
    return rc;
}

int vf_snapshot_check(const void *memory, size_t size, char *fault, size_t fault_size)
{
    struct check check = {memory, size, {.header = memory, .size = size}, fault, fault_size, {0}};
    int rc = check_header(&check);
    if (rc < 0)
        return rc;
    vf_lines_init(&check.lines, check.base, end_of_texts(&check));
    rc = check_all(&check);
    vf_lines_deinit(&check.lines);
    return rc;
}

/* --- Texts ------------------------------------------------------------------------------------ */

void vf_snapshot_each_text(const struct vf_snapshot *snapshot,
                           void (*visit)(void *owner, const struct vf_snap_place *place,
                                         struct vf_snap_text *text),
                           void *owner)
{
    const struct vf_rules of_settings = vf_rules_of_settings(), of_records = vf_rules_of_records();
    for (size_t r = 0; r < of_settings.n; r++) {
        const struct vf_rule *rule = &of_settings.list[r];
        struct vf_snap_place place = {VF_SNAP_SECTIONS, 0, rule->offset};
        char *settings = (char *)&snapshot->header->settings;
        if (vf_rules_is_text(rule))
            visit(owner, &place, (struct vf_snap_text *)(void *)(settings + rule->offset));
    }
    for (size_t r = 0; r < of_records.n; r++) {
        const struct vf_rule *rule = &of_records.list[r];
        uint32_t bytes = vf_snap_record_bytes(rule->section);
        uint32_t count = vf_rules_is_text(rule) ? vf_snap_count(snapshot, rule->section) : 0;
        char *records = (char *)vf_snap_section(snapshot, rule->section);
        struct vf_snap_place place = {rule->section, 0, rule->offset};
        for (; place.index < count; place.index++) {
            char *field = records + (size_t)place.index * bytes + rule->offset;
            visit(owner, &place, (struct vf_snap_text *)(void *)field);
        }
    }
}
