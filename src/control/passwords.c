#include "control/passwords.h"

#include <stdlib.h>
#include <string.h>

#include "lua/password.h"

enum {
    MAX_JOBS = 8, /* at once: each takes 19 MiB and a thread for some 30 ms */
    MAX_PASSWORD_BYTES = 1024
};

struct vf_password_job {
    uv_work_t work;
    struct vf_password_job *next;
    struct vf_passwords *passwords; /* NULL: nobody wants to know any more */
    double token;
    char encoded[VF_PASSWORD_ENCODED_BYTES];
    char password[MAX_PASSWORD_BYTES];
    size_t len;
    int result;
};

void vf_passwords_init(struct vf_passwords *passwords, uv_loop_t *loop,
                       void (*on_done)(void *owner, double token, bool is_right), void *owner)
{
    *passwords = (struct vf_passwords){.loop = loop, .on_done = on_done, .owner = owner};
}

static void on_verify(uv_work_t *work)
{
    struct vf_password_job *job = work->data;
    job->result = vf_password_verify(job->encoded, job->password, job->len);
    explicit_bzero(job->password, sizeof(job->password));
}

static void take_off(struct vf_passwords *passwords, struct vf_password_job *job)
{
    struct vf_password_job **at = &passwords->jobs;
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    passwords->n_jobs--;
}

static void on_verified(uv_work_t *work, int status)
{
    struct vf_password_job *job = work->data;
    struct vf_passwords *passwords = job->passwords;
    if (passwords != NULL) {
        take_off(passwords, job);
        passwords->on_done(passwords->owner, job->token, status == 0 && job->result == 0);
    }
    explicit_bzero(job->password, sizeof(job->password));
    free(job);
}

bool vf_passwords_verify(struct vf_passwords *passwords, double token, struct vf_str encoded,
                         struct vf_str password)
{
    struct vf_password_job *job = NULL;
    bool fits = encoded.len < sizeof(job->encoded) && password.len <= sizeof(job->password);
    if (fits && passwords->n_jobs < MAX_JOBS)
        job = calloc(1, sizeof(*job));
    if (job == NULL)
        return false;
    memcpy(job->encoded, encoded.data, encoded.len);
    memcpy(job->password, password.data, password.len);
    job->len = password.len;
    job->token = token;
    job->passwords = passwords;
    job->work.data = job;
    job->next = passwords->jobs;
    passwords->jobs = job;
    passwords->n_jobs++;
    uv_queue_work(passwords->loop, &job->work, on_verify, on_verified);
    return true;
}

void vf_passwords_deinit(struct vf_passwords *passwords)
{
    for (struct vf_password_job *job = passwords->jobs; job != NULL; job = job->next)
        job->passwords = NULL;
    passwords->jobs = NULL;
}
