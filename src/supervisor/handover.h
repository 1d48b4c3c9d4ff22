/* supervisor/handover.h - what one supervisor image tells the next, executed in its place.
 * A memfd with lines of text: a first line with the version of the format, then `KEY FIELD...`, a
 * text with spaces last, and a last line `end`. Descriptors are numbers, valid across execution. A
 * reader skips keys that it does not know, so lines may be added; what changes the meaning of a
 * line gets a new format version, which an older or newer binary refuses when it is probed. */
#ifndef VF_SUPERVISOR_HANDOVER_H
#define VF_SUPERVISOR_HANDOVER_H

struct vf_supervisor;

/* Writes the table. Returns the memfd, close-on-exec and owned by the caller, or -errno. */
int vf_handover_write(const struct vf_supervisor *super);

/* Fills *super, which is initialised and has neither children nor ports, from the table in `fd`;
 * state and snapshot are descriptors only, not mapped yet. Without `adopt` nothing but the syntax
 * is checked and *super holds just options, version and numbers (the probe: it has none of these
 * descriptors). Returns 0, -EPROTO when the table is not understood, or another -errno. */
int vf_handover_read(struct vf_supervisor *super, int fd, int adopt);

/* The probe's word, at the end of the table in `fd`, that its binary can take over: an exit code of
 * 0 other programs have too. Returns 0 or -errno. */
int vf_handover_vouch(int fd);
int vf_handover_is_vouched(int fd);

/* Lets every descriptor of the table survive an execution, or not. */
void vf_handover_inherit(const struct vf_supervisor *super, int inherit);

#endif
