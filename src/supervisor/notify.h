/* supervisor/notify.h - tells the service manager how we are.
 * Source: sd_notify(3), "Notes": one datagram of NAME=value lines to the socket in NOTIFY_SOCKET.
 */
#ifndef VF_SUPERVISOR_NOTIFY_H
#define VF_SUPERVISOR_NOTIFY_H

/* Sends `state`, such as "READY=1\nSTATUS=serving". Does nothing when no manager listens. */
void vf_notify(const char *state);

/* RELOADING=1 with the time that the manager needs to match the READY=1 that follows. */
void vf_notify_reloading(void);

/* READY=1 with our pid, which is the main one. */
void vf_notify_ready(void);

#endif
