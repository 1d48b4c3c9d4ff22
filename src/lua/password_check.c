#include "lua/password_check.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "lua/password.h"
#include "lua/task.h"

struct vf_password_check {
    uv_work_t work;
    struct vf_task *task; /* to be woken, or NULL: nobody waits any more */
    bool is_done, is_given_up;
    int result;
    size_t len;
    char *password; /* behind `encoded` */
    char encoded[]; /* NUL-terminated */
};

static int n_checks; /* all on the thread of the loop */

static void on_verify(uv_work_t *work)
{
    struct vf_password_check *check = work->data;
    check->result = vf_password_verify(check->encoded, check->password, check->len);
}

static void on_verified(uv_work_t *work, int status)
{
    struct vf_password_check *check = work->data;
    n_checks--;
    explicit_bzero(check->password, check->len);
    check->is_done = true;
    if (status < 0)
        check->result = status;
    if (check->is_given_up)
        free(check);
    else if (check->task != NULL)
        vf_task_wake(check->task);
}

static void on_cancel(void *op)
{
    struct vf_password_check *check = op;
    check->task = NULL;
}

struct vf_password_check *vf_password_check_start(struct vf_task *task, const char *encoded,
                                                  size_t encoded_len, const char *password,
                                                  size_t len)
{
    if (n_checks >= VF_PASSWORD_CHECKS)
        return NULL;
    struct vf_password_check *check = calloc(1, sizeof(*check) + encoded_len + 1 + len);
    if (check == NULL)
        return NULL;
    check->work.data = check;
    check->task = task;
    check->len = len;
    check->password = check->encoded + encoded_len + 1;
    memcpy(check->encoded, encoded, encoded_len);
    memcpy(check->password, password, len);
    if (uv_queue_work(vf_task_tasks(task)->loop, &check->work, on_verify, on_verified) < 0) {
        free(check);
        return NULL;
    }
    n_checks++;
    vf_task_wait_for(task, check, on_cancel);
    return check;
}

int vf_password_check_result(const struct vf_password_check *check)
{
    return check->is_done ? check->result : UV_EBUSY;
}

void vf_password_check_free(struct vf_password_check *check)
{
    if (check == NULL)
        return;
    if (check->is_done) {
        free(check);
        return;
    }
    check->task = NULL;
    check->is_given_up = true;
}
