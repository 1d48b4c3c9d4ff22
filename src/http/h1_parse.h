/* http/h1_parse.h - what h1.c (llhttp, content) and h1_head.c (heads) share; for src/http. */
#ifndef VF_HTTP_H1_PARSE_H
#define VF_HTTP_H1_PARSE_H

#include "http/h1.h"

/* Fill *fault and return -1; a malformed message is answered with 400. */
int vf_h1_refuse(struct vf_fault *fault, uint32_t status, const char *code, const char *rule,
                 const char *section, size_t offset);
int vf_h1_malformed(struct vf_fault *fault, const char *rule, const char *section, size_t offset);

/* Readies the parser for a message. */
void vf_h1_begin(struct vf_h1 *h1, llhttp_type_t type, struct vf_arena *arena,
                 const struct vf_h1_limits *limits, struct vf_head *head);

/* Returns 0 when every line ends with CR LF, CR stands nowhere else and no line is folded; else -1
 * with what is wrong in *rule, and where in *offset. */
int vf_h1_check_lines(const char *data, size_t len, const char **rule, size_t *offset);

/* Feeds a head to llhttp, which must stop exactly at its end. Returns as vf_h1_request. */
int vf_h1_parse_head(struct vf_h1 *h1, const char *data, size_t len, struct vf_fault *fault);

#endif
