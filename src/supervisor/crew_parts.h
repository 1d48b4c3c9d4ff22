/* supervisor/crew_parts.h - what the files of the crew share: crew.c (posts and who holds them),
 * crew_sockets.c (who serves which socket), crew_events.c (what children say, and their ends). */
#ifndef VF_SUPERVISOR_CREW_PARTS_H
#define VF_SUPERVISOR_CREW_PARTS_H

#include <stdbool.h>

struct vf_child;
struct vf_post;
struct vf_supervisor;
struct vf_timer;

/* Returns true when the post has a child that is READY. */
bool vf_crew_is_filled(const struct vf_post *post);

/* Has the post filled later: after twice the time of the last delay. */
void vf_crew_delay_restart(struct vf_post *post);

/* A child that comes to a running house gets what the others run. */
void vf_crew_bring_up_to_date(struct vf_supervisor *super, struct vf_child *child);

/* Of super->close_grace, started by vf_crew_settle: closes the sockets that are to be closed. */
void vf_crew_on_close_grace(struct vf_timer *timer);

#endif
