/* Fuzzes request targets: the first byte of the input chooses the method, the rest is the target.
 * Beyond memory safety it holds the code to what it promises: views lie within the input, a normal
 * form is its own normal form, has no dot segments and is not longer than what was sent. */
#include <stdlib.h>

#include "http/method.h"
#include "http/target.h"

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

static bool has_dot_segment(struct vf_str path)
{
    for (size_t i = 0; i < path.len; i++) {
        if (path.data[i] != '/')
            continue;
        size_t dots = 0;
        while (i + 1 + dots < path.len && path.data[i + 1 + dots] == '.')
            dots++;
        bool ends = i + 1 + dots == path.len || path.data[i + 1 + dots] == '/';
        if (ends && (dots == 1 || dots == 2))
            return true;
    }
    return false;
}

static void check_normal_form(struct vf_str raw)
{
    char *buffer = malloc(raw.len + 1), *again = malloc(raw.len + 1);
    struct vf_path path, second;
    size_t at = SIZE_MAX;
    int rc = vf_path_normalise(raw, buffer, &path, &at);
    if (rc < 0)
        REQUIRE(rc > -VF_TARGET_FAULTS && at <= raw.len && vf_target_rule(rc).reason != NULL);
    else if (!vf_str_eq(raw, VF_STR("*"))) {
        REQUIRE(path.text.len <= raw.len && path.text.len > 0 && path.text.data[0] == '/');
        REQUIRE(!has_dot_segment(path.text));
        REQUIRE(path.is_changed != vf_str_eq(path.text, raw));
        REQUIRE(vf_path_normalise(path.text, again, &second, &at) == 0);
        REQUIRE(!second.is_changed && !second.had_dots);
    }
    free(again);
    free(buffer);
}

static void check_host(struct vf_str host)
{
    struct vf_str name;
    int port;
    if (!vf_host_is_valid(host))
        return;
    vf_host_split(host, &name, &port);
    REQUIRE(name.len > 0 && name.len <= host.len && port >= -1 && port <= 65535);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    int method = data[0] % VF_METHODS;
    struct vf_str raw = {(const char *)data + 1, size - 1};
    struct vf_target target;
    size_t at = SIZE_MAX;
    check_host(raw);
    check_normal_form(raw);
    int rc = vf_target_parse(raw, method, &target, &at);
    if (rc < 0) {
        REQUIRE(rc > -VF_TARGET_FAULTS && at <= raw.len);
        return 0;
    }
    REQUIRE(target.path.len + target.query.len + target.authority.len <= raw.len + 1);
    if (target.path.len > 0)
        check_normal_form(target.path);
    if (target.authority.len > 0)
        check_host(target.authority);
    return 0;
}
