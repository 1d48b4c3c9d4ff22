/* lua/password_check.h - comparing a password with an Argon2id hash on a thread: the task that asks
 * waits, and the loop goes on. Called by lua/veloflux/runtime/passwords.lua. */
#ifndef VF_LUA_PASSWORD_CHECK_H
#define VF_LUA_PASSWORD_CHECK_H

#include <stddef.h>

struct vf_task;
struct vf_password_check;

enum { VF_PASSWORD_CHECKS = 64 /* under way or waiting for a thread, per process */ };

/* Begins to compare; the texts are copied. `task` is woken when that is done. Returns NULL when too
 * many are under way, or out of memory. */
struct vf_password_check *vf_password_check_start(struct vf_task *task, const char *encoded,
                                                  size_t encoded_len, const char *password,
                                                  size_t len);

/* Returns what vf_password_verify did; UV_EBUSY while it is under way. */
int vf_password_check_result(const struct vf_password_check *check);

/* Gives it up; one that is under way ends alone. NULL is left alone. */
void vf_password_check_free(struct vf_password_check *check);

#endif
