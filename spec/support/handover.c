/* A supervisor with one port hands it over to another: for spec/unit/supervisor. */
#include <stdlib.h>
#include <unistd.h>

#include "supervisor/core.h"
#include "supervisor/handover.h"

static struct vf_supervisor *new_supervisor(void)
{
    struct vf_supervisor *super = calloc(1, sizeof(*super));
    super->options.conf_fd = super->state_fd = super->datadir.lock_fd = super->usage.fd = -1;
    super->copies = (struct vf_copies){-1, -1};
    vf_shelf_init(super);
    return super;
}

/* Returns what has become of may_defer, or -1, and stores the slots whose sockets are to be told
 * that they defer no more. */
int spec_hand_over(int may_defer, uint64_t *deferred)
{
    struct vf_supervisor *from = new_supervisor(), *to = new_supervisor();
    struct vf_port *port = vf_ports_add(&from->ports, VF_LINK_SOCKET_PROXY, "web", 100);
    from->options.conf = "x";
    port->fds[1] = 101;
    port->n_sockets = port->n_open = 2;
    port->may_defer = may_defer != 0;
    int fd = vf_handover_write(from);
    int rc = fd < 0 ? fd : vf_handover_read(to, fd, 1);
    const struct vf_port *read = &to->ports.all[0];
    rc = rc < 0 || read->n_sockets != 2 ? -1 : read->may_defer;
    *deferred = read->deferred;
    close(fd);
    free((char *)to->options.conf);
    free(from);
    free(to);
    return rc;
}
