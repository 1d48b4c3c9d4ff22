/* proxy/hello.h - the phase `certificate` of plugins. mbedTLS cannot wait within a handshake, so
 * the phase comes before it: where a plugin of global scope has the phase, a connection's
 * ClientHello is read first, then the plugins run, and then TLS gets the bytes.
 *
 *   PROXY header -> [ ClientHello -> CERTIFICATE ] -> TLS
 *
 * The plugins see an exchange that never gets a request: it is neither counted nor logged, and a
 * failure of theirs ends the handshake. */
#ifndef VF_PROXY_HELLO_H
#define VF_PROXY_HELLO_H

#include <stdbool.h>
#include <stddef.h>

struct vf_downstream;
struct vf_exchange;

/* True when plugins run before the connection's handshake: client->at_hello is to be set. */
bool vf_hello_is_wanted(const struct vf_downstream *client);

/* One step of a connection that is at_hello, on all bytes that have come. Returns how many were
 * used: all of them once TLS has begun; 0 when more are needed, plugins wait, or it has failed. */
size_t vf_hello_read(struct vf_downstream *client, const char *data, size_t len);

/* True while more bytes may be read of a connection that is at_hello. */
bool vf_hello_may_read(const struct vf_downstream *client);

/* The client of a connection that is at_hello went away: closes. */
void vf_hello_gone(struct vf_downstream *client, const char *reason);

/* The phase that had waited is through: TLS begins. For proxy/phases.c. */
void vf_hello_go_on(struct vf_exchange *ex);

#endif
