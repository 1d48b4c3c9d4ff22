/* control/passwords.h - passwords of administrators, compared with their Argon2id hashes on
 * threads: the loop goes on meanwhile. For tasks of Lua, which wait: lua/password_check.h. */
#ifndef VF_CONTROL_PASSWORDS_H
#define VF_CONTROL_PASSWORDS_H

#include <stdbool.h>
#include <uv.h>

#include "base/str.h"

struct vf_password_job;

/* In the caller's memory. */
struct vf_passwords {
    uv_loop_t *loop;
    void (*on_done)(void *owner, double token, bool is_right);
    void *owner;
    struct vf_password_job *jobs; /* under way */
    int n_jobs;
};

/* `on_done` is called on the loop's thread, once for each that has begun. */
void vf_passwords_init(struct vf_passwords *passwords, uv_loop_t *loop,
                       void (*on_done)(void *owner, double token, bool is_right), void *owner);

/* Begins to compare; both texts are copied, the password is wiped afterwards. `token` is the
 * caller's. Returns false when too many are under way, a text is too long, or memory is out. */
bool vf_passwords_verify(struct vf_passwords *passwords, double token, struct vf_str encoded,
                         struct vf_str password);

/* Nobody is told any more; what is under way ends alone, and needs the loop. */
void vf_passwords_deinit(struct vf_passwords *passwords);

#endif
