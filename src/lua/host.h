/* lua/host.h - what the conf loader asks the machine: accounts, processors, addresses. */
#ifndef VF_LUA_HOST_H
#define VF_LUA_HOST_H

#include <stddef.h>
#include <stdint.h>

/* Reads the text form of an IP address of `len` bytes. Writes its bytes in network order (IPv4:
 * four) to `ip` and returns enum vf_snap_family; VF_FAMILY_NONE when it is none. */
int vf_ip_parse(const char *text, size_t len, uint8_t ip[16]);

/* Looks up a user by name or number: its id and primary group. Returns 0, UV_ENOENT or -errno. */
int vf_host_user(const char *name, uint32_t *uid, uint32_t *gid);

/* Looks up a group by name or number. Returns 0, UV_ENOENT or -errno. */
int vf_host_group(const char *name, uint32_t *gid);

/* Returns how many processors this process may run on, at least 1. */
uint32_t vf_host_cpus(void);

#endif
