#include "snapshot/matching.h"

#include <stdlib.h>

static const struct vf_str absent = {NULL, 0};

struct vf_str vf_route_fields_find(void *owner, struct vf_str name)
{
    const struct vf_route_fields *fields = owner;
    for (size_t i = 0; i < fields->n_pairs; i++)
        if (vf_str_ieq(fields->pairs[2 * i], name))
            return fields->pairs[2 * i + 1];
    return absent;
}

bool vf_match_extension(const struct vf_snapshot *snapshot, const struct vf_snap_route *route,
                        struct vf_str name)
{
    struct vf_str rest = vf_snap_str(snapshot, route->more_methods), item;
    while (vf_str_next_item(&rest, &item))
        if (vf_str_eq(item, name))
            return true;
    return false;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = vf_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Takes one decoded byte off the front of `text`, which is not empty. An escape without digits
 * stands for itself (application/x-www-form-urlencoded, WHATWG URL section 5.1). */
static char take_byte(struct vf_str *text)
{
    char c = text->data[0];
    size_t used = 1;
    if (c == '+')
        c = ' ';
    if (c == '%' && text->len >= 3) {
        int high = hex_value(text->data[1]), low = hex_value(text->data[2]);
        if (high >= 0 && low >= 0) {
            c = (char)(high << 4 | low);
            used = 3;
        }
    }
    text->data += used;
    text->len -= used;
    return c;
}

static bool decodes_to(struct vf_str encoded, struct vf_str plain)
{
    for (size_t i = 0; i < plain.len; i++)
        if (encoded.len == 0 || take_byte(&encoded) != plain.data[i])
            return false;
    return encoded.len == 0;
}

/* Returns the encoded value of the first parameter called `name`, or `absent`. */
static struct vf_str find_parameter(struct vf_str query, struct vf_str name)
{
    const char *at = query.data, *end = query.data + query.len;
    while (at < end) {
        const char *limit = memchr(at, '&', (size_t)(end - at));
        if (limit == NULL)
            limit = end;
        const char *equals = memchr(at, '=', (size_t)(limit - at));
        const char *name_end = equals != NULL ? equals : limit;
        if (decodes_to(vf_str_make(at, (size_t)(name_end - at)), name))
            return equals != NULL ? vf_str_make(equals + 1, (size_t)(limit - equals - 1))
                                  : vf_str_make(limit, 0);
        at = limit + 1;
    }
    return absent;
}

/* Decodes `encoded` into the router's own room. Returns `absent` when out of memory. */
static struct vf_str decode(struct vf_router *router, struct vf_str encoded)
{
    if (encoded.len > router->decoded_room) {
        char *room = realloc(router->decoded, encoded.len);
        if (room == NULL)
            return absent;
        router->decoded = room;
        router->decoded_room = encoded.len;
    }
    size_t len = 0;
    while (encoded.len > 0)
        router->decoded[len++] = take_byte(&encoded);
    return vf_str_make(len > 0 ? router->decoded : "", len);
}

static bool value_matches(struct vf_router *router, struct vf_str pattern, struct vf_str value)
{
    const size_t *offsets;
    return value.data != NULL && vf_patterns_match(router->patterns, pattern, value, &offsets) > 0;
}

static bool query_holds(struct vf_router *router, uint32_t test, struct vf_str wanted,
                        struct vf_str found)
{
    if (test == VF_TEST_EQUAL)
        return decodes_to(found, wanted);
    return value_matches(router, wanted, decode(router, found));
}

static bool holds(struct vf_router *router, const struct vf_snapshot *snapshot,
                  const struct vf_snap_condition *condition, const struct vf_route_query *query)
{
    struct vf_str name = vf_snap_str(snapshot, condition->name);
    struct vf_str wanted = vf_snap_str(snapshot, condition->value), found = absent;
    if (condition->kind == VF_CONDITION_QUERY)
        found = find_parameter(query->query, name);
    else if (query->header != NULL)
        found = query->header(query->owner, name);
    if (condition->test == VF_TEST_ABSENT || found.data == NULL)
        return condition->test == VF_TEST_ABSENT && found.data == NULL;
    if (condition->test == VF_TEST_PRESENT)
        return true;
    if (condition->kind == VF_CONDITION_QUERY)
        return query_holds(router, condition->test, wanted, found);
    return condition->test == VF_TEST_EQUAL ? vf_str_eq(found, wanted)
                                            : value_matches(router, wanted, found);
}

uint32_t vf_match_conditions(struct vf_router *router, const struct vf_snapshot *snapshot,
                             const struct vf_snap_route *route, const struct vf_route_query *query)
{
    for (uint32_t i = 0; i < route->conditions.count; i++) {
        uint32_t index = route->conditions.first + i;
        if (!holds(router, snapshot, vf_snap_condition(snapshot, index), query))
            return index;
    }
    return VF_SNAP_NONE;
}

static void keep_captures(struct vf_route_match *match, const size_t *offsets, int n_captures)
{
    match->n_captures = (uint32_t)n_captures;
    for (int i = 0; i < n_captures; i++) {
        bool is_set = offsets[2 * i] != SIZE_MAX;
        match->captures[i].start = is_set ? (uint32_t)offsets[2 * i] : UINT32_MAX;
        match->captures[i].end = is_set ? (uint32_t)offsets[2 * i + 1] : UINT32_MAX;
    }
}

bool vf_match_pattern(struct vf_router *router, const struct vf_snapshot *snapshot,
                      const struct vf_snap_route *route, struct vf_str path,
                      struct vf_route_match *match)
{
    const size_t *offsets;
    int n = vf_patterns_match(router->patterns, vf_snap_str(snapshot, route->path), path, &offsets);
    if (n > 0 && match != NULL)
        keep_captures(match, offsets, n);
    return n > 0;
}
