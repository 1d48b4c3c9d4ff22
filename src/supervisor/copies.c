/* A snapshot comes from control as a whole, with the keys of certificates and other secrets. The
 * workers get it as it is, the checker gets less, and we ourselves map a copy without secrets. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/extract.h"
#include "snapshot/snapshot.h"
#include "supervisor/core.h"

void vf_copies_close(struct vf_copies *copies)
{
    if (copies->whole >= 0)
        close(copies->whole);
    if (copies->checker >= 0)
        close(copies->checker);
    *copies = (struct vf_copies){-1, -1};
}

int vf_copies_map(struct vf_copies *copies, struct vf_snapshot **out, char *fault,
                  size_t fault_size)
{
    struct vf_extract extract;
    char why[96] = "";
    int rc = vf_extract_make(copies->whole, &extract, why, sizeof(why));
    if (rc == 0) {
        copies->checker = extract.checker_fd;
        rc = vf_snapshot_open(extract.bare_fd, out);
        close(extract.bare_fd);
        if (rc < 0)
            snprintf(why, sizeof(why), "%s", vf_snapshot_fault());
    }
    if (rc < 0)
        snprintf(fault, fault_size, "snapshot: %s: %s", strerror(-rc), why);
    return rc;
}
