/* http/h1_parse.h - what h1.c (llhttp, content), h1_head.c (heads) and h1_plain.c (heads of the
 * usual shape) share; for src/http. */
#ifndef VF_HTTP_H1_PARSE_H
#define VF_HTTP_H1_PARSE_H

#include "http/h1.h"

/* Fill *fault and return -1; a malformed message is answered with 400. */
int vf_h1_refuse(struct vf_fault *fault, uint32_t status, const char *code, const char *rule,
                 const char *section, size_t offset);
int vf_h1_malformed(struct vf_fault *fault, const char *rule, const char *section, size_t offset);

/* Readies `h1` for a message. */
void vf_h1_begin(struct vf_h1 *h1, struct vf_arena *arena, const struct vf_h1_limits *limits,
                 struct vf_head *head);

/* Returns the first control character (RFC 9110 section 5.5: below the space, or DEL) of `at` ..
 * `end`, or `end`. Looks at eight bytes at a time. */
const char *vf_h1_find_control(const char *at, const char *end);

/* Reads a field section: what stands behind the first line of a head, the blank line included, with
 * a NUL behind it. Returns false, and leaves no field, when that is for vf_h1_parse_head to judge:
 * what is not of the usual shape, faults above all. */
bool vf_h1_read_plain(struct vf_fields *fields, struct vf_arena *arena, const char *data,
                      size_t len);

/* Returns true when `target` is a path of visible ASCII characters; llhttp judges all others. */
bool vf_h1_is_plain_target(struct vf_str target);

/* Returns 0 when every line ends with CR LF, CR stands nowhere else and no line is folded; else -1
 * with what is wrong in *rule, and where in *offset. */
int vf_h1_check_lines(const char *data, size_t len, const char **rule, size_t *offset);

/* Readies llhttp, then feeds a head to it: it must stop exactly at its end, and reads all fields.
 * Returns as vf_h1_request. */
void vf_h1_begin_llhttp(struct vf_h1 *h1, llhttp_type_t type);
int vf_h1_parse_head(struct vf_h1 *h1, const char *data, size_t len, struct vf_fault *fault);

#endif
