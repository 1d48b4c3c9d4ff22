#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct error_row {
    int code;
    const char *name, *text;
};

static const struct error_row rows[] = {
    {VF_ENOBACKEND, "VF_ENOBACKEND", "no usable backend"},
    {VF_ENOADDRESS, "VF_ENOADDRESS", "the name has no address"},
    {VF_ENOCOOKIE, "VF_ENOCOOKIE", "no valid sticky cookie"},
    {VF_EMALFORMED, "VF_EMALFORMED", "malformed message"},
    {VF_ETOOLARGE, "VF_ETOOLARGE", "larger than allowed"},
    {VF_ETLS, "VF_ETLS", "TLS failed"},
};

static const struct error_row *row_of(int code)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].code == code)
            return &rows[i];
    return NULL;
}

/* libuv allocates a name for a code that it does not know: a leak per call. */
static bool is_known_to_uv(int code)
{
#define CASE_OF(name, text) case UV_##name:
    switch (code) {
        UV_ERRNO_MAP(CASE_OF)
        return true;
    default:
        return false;
    }
#undef CASE_OF
}

const char *vf_error_name(int code)
{
    const struct error_row *row = row_of(code);
    if (row != NULL)
        return row->name;
    return is_known_to_uv(code) ? uv_err_name(code) : code == 0 ? "OK" : "UNKNOWN";
}

const char *vf_error_text(int code)
{
    const struct error_row *row = row_of(code);
    if (row != NULL)
        return row->text;
    return is_known_to_uv(code) ? uv_strerror(code) : code == 0 ? "success" : "unknown error";
}
