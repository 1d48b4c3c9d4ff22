/* proxy/forward_target.c - the request-target that a backend is asked for: what came, what is left
 * of it without the route's prefix, or a template of the route's with variables. */
#include "proxy/forward.h"
#include "snapshot/router.h"

struct vf_str vf_forward_join(struct vf_exchange *ex, struct vf_str first, struct vf_str separator,
                              struct vf_str second)
{
    char *text = vf_arena_alloc(&ex->arena, first.len + separator.len + second.len);
    if (text == NULL)
        return vf_str_make(NULL, 0);
    memcpy(text, first.data, first.len);
    memcpy(text + first.len, separator.data, separator.len);
    memcpy(text + first.len + separator.len, second.data, second.len);
    return vf_str_make(text, first.len + separator.len + second.len);
}

/* The host without its port: "[::1]:80" is "[::1]". */
static struct vf_str without_port(struct vf_str host)
{
    size_t len = host.len;
    while (len > 0 && host.data[len - 1] >= '0' && host.data[len - 1] <= '9')
        len--;
    return len > 0 && host.data[len - 1] == ':' ? vf_str_make(host.data, len - 1) : host;
}

static struct vf_str variable(struct vf_exchange *ex, struct vf_str *rest,
                              const struct vf_route_match *match)
{
    static const struct vf_str names[] = {{"host", 4}, {"path", 4}, {"query", 5}};
    const struct vf_str values[] = {without_port(ex->host), ex->path.text, ex->target.query};
    char c = rest->len > 1 ? rest->data[1] : '\0';
    size_t taken = 1;
    struct vf_str value = VF_STR("$");
    if (c == '$') {
        taken = 2;
    } else if (c >= '0' && c <= '9') {
        unsigned group = (unsigned)(c - '0');
        taken = 2;
        value = vf_str_make("", 0);
        if (group < match->n_captures && match->captures[group].start != UINT32_MAX)
            value = vf_str_make(ex->path.text.data + match->captures[group].start,
                                match->captures[group].end - match->captures[group].start);
    } else {
        for (size_t i = 0; i < 3; i++)
            if (vf_str_starts(vf_str_make(rest->data + 1, rest->len - 1), names[i])) {
                taken = 1 + names[i].len;
                value = values[i];
            }
    }
    rest->data += taken;
    rest->len -= taken;
    return value;
}

struct vf_str vf_forward_expand(struct vf_exchange *ex, struct vf_str template,
                                const struct vf_route_match *match)
{
    struct vf_str rest = template;
    size_t len = 0;
    for (int pass = 0;; pass++) { /* measure, then write */
        char *text = pass == 0 ? NULL : vf_arena_alloc(&ex->arena, len + 1);
        if (pass == 1 && text == NULL)
            return vf_str_make(NULL, 0);
        size_t at = 0;
        for (rest = template; rest.len > 0;) {
            struct vf_str piece = vf_str_make(rest.data, 1);
            if (rest.data[0] == '$') {
                piece = variable(ex, &rest, match);
            } else {
                rest.data++;
                rest.len--;
            }
            if (pass == 1 && piece.len > 0)
                memcpy(text + at, piece.data, piece.len);
            at += piece.len;
        }
        if (pass == 1)
            return vf_str_make(text, at);
        len = at;
    }
}

static struct vf_str with_query(struct vf_exchange *ex, struct vf_str path)
{
    if (ex->new_query.data != NULL && path.data != NULL)
        return ex->new_query.len == 0 ? path
                                      : vf_forward_join(ex, path, VF_STR("?"), ex->new_query);
    if (!ex->target.has_query || path.data == NULL)
        return path;
    return vf_forward_join(ex, path, VF_STR("?"), ex->target.query);
}

static struct vf_str rewritten_path(struct vf_exchange *ex, const struct vf_route_match *match)
{
    const struct vf_snap_route *route = ex->route;
    struct vf_str path = ex->path.text, rewrite = vf_snap_str(ex->snapshot, route->rewrite);
    struct vf_str rest =
        vf_str_make(path.data + match->prefix_bytes, path.len - match->prefix_bytes);
    if (route->path_kind == VF_PATH_REGEX)
        return vf_forward_expand(ex, rewrite, match);
    if (route->path_kind == VF_PATH_EXACT)
        return route->has_rewrite ? rewrite : VF_STR("/");
    if (!route->has_rewrite)
        return rest.len > 0 && rest.data[0] == '/'
                   ? rest
                   : vf_forward_join(ex, VF_STR("/"), rest, VF_STR(""));
    if (rewrite.len > 0 && rewrite.data[rewrite.len - 1] == '/' && rest.len > 0 &&
        rest.data[0] == '/')
        rest = vf_str_make(rest.data + 1, rest.len - 1);
    struct vf_str joined = vf_forward_join(ex, rewrite, VF_STR(""), rest);
    return joined.len > 0 || joined.data == NULL ? joined : VF_STR("/");
}

struct vf_str vf_forward_target(struct vf_exchange *ex, const struct vf_route_match *match)
{
    if (ex->target.form == VF_TARGET_ASTERISK ||
        (ex->target.form == VF_TARGET_ABSOLUTE && ex->target.path.data[0] == '*'))
        return VF_STR("*");
    if (ex->new_path.data != NULL)
        return with_query(ex, ex->new_path);
    if (ex->route->strip_prefix || ex->route->has_rewrite)
        return with_query(ex, rewritten_path(ex, match));
    if (ex->path.had_dots)
        return with_query(ex, ex->path.text);
    if (ex->target.form == VF_TARGET_ORIGIN && ex->new_query.data == NULL)
        return ex->request.target;
    return with_query(ex, ex->target.path);
}
