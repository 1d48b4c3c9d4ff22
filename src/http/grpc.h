/* http/grpc.h - what a gRPC client understands of an answer that no gRPC server made: a status of
 * its own and a message (grpc: doc/PROTOCOL-HTTP2.md, "Trailers-Only"). */
#ifndef VF_HTTP_GRPC_H
#define VF_HTTP_GRPC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"

/* Returns true for application/grpc, with or without a suffix (+proto) and parameters; gRPC-Web is
 * another protocol. */
bool vf_grpc_is_content_type(struct vf_str value);

/* Returns the status of gRPC for one of HTTP that is an error (doc/http-grpc-status-mapping.md), as
 * text. */
struct vf_str vf_grpc_status(uint32_t http_status);

/* Returns `text` as grpc-message has it, percent-encoded, in the arena; data NULL when out of
 * memory. */
struct vf_str vf_grpc_message(struct vf_arena *arena, struct vf_str text);

#endif
