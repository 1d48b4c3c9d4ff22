#include "lua/paths.h"

#include <string.h>

#include "http/target.h"

int vf_path_normal_form(const char *path, size_t len, char *out)
{
    struct vf_path normal;
    size_t fault_at;
    if (len == 0 || path[0] != '/')
        return -VF_TARGET_BAD_FORM;
    int rc = vf_path_normalise(vf_str_make(path, len), out, &normal, &fault_at);
    if (rc < 0)
        return rc;
    memmove(out, normal.text.data, normal.text.len);
    return (int)normal.text.len;
}
