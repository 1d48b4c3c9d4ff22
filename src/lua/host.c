#include "lua/host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <string.h>
#include <uv.h>

#include "base/str.h"
#include "snapshot/layout.h"

enum { ACCOUNT_BYTES = 16384 }; /* for the strings of an account; more than any real one has */

int vf_ip_parse(const char *text, size_t len, uint8_t ip[16])
{
    char copy[INET6_ADDRSTRLEN];
    if (len == 0 || len >= sizeof(copy))
        return VF_FAMILY_NONE;
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (strlen(copy) != len)
        return VF_FAMILY_NONE;
    if (inet_pton(AF_INET, copy, ip) == 1)
        return VF_FAMILY_IPV4;
    return inet_pton(AF_INET6, copy, ip) == 1 ? VF_FAMILY_IPV6 : VF_FAMILY_NONE;
}

static int is_id(const char *text, uint64_t *id)
{
    return vf_str_to_u64(vf_str_from(text), id) && *id < UINT32_MAX;
}

int vf_host_user(const char *name, uint32_t *uid, uint32_t *gid)
{
    char strings[ACCOUNT_BYTES];
    struct passwd entry, *found = NULL;
    uint64_t id;
    int rc = is_id(name, &id) ? getpwuid_r((uid_t)id, &entry, strings, sizeof(strings), &found)
                              : getpwnam_r(name, &entry, strings, sizeof(strings), &found);
    if (found == NULL)
        return rc == 0 ? UV_ENOENT : -rc;
    *uid = found->pw_uid;
    *gid = found->pw_gid;
    return 0;
}

int vf_host_group(const char *name, uint32_t *gid)
{
    char strings[ACCOUNT_BYTES];
    struct group entry, *found = NULL;
    uint64_t id;
    int rc = is_id(name, &id) ? getgrgid_r((gid_t)id, &entry, strings, sizeof(strings), &found)
                              : getgrnam_r(name, &entry, strings, sizeof(strings), &found);
    if (found == NULL)
        return rc == 0 ? UV_ENOENT : -rc;
    *gid = found->gr_gid;
    return 0;
}

uint32_t vf_host_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        return 1;
    int count = CPU_COUNT(&set);
    return count > 0 ? (uint32_t)count : 1;
}
