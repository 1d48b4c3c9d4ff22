/* proxy/tls_records.h - what a process has made of the TLS records of snapshots: identities,
 * clients for backends, and authorities of routes. Made when first wanted, kept by the id of their
 * content as long as the snapshot has them, so that a reload costs nothing for what has not
 * changed. */
#ifndef VF_PROXY_TLS_RECORDS_H
#define VF_PROXY_TLS_RECORDS_H

#include "net/stream.h"
#include "snapshot/layout.h"
#include "tls/client.h"

/* What a connection to a backend asks for by ALPN (RFC 7301). */
enum vf_tls_ask { VF_TLS_ASK_NOTHING = 0, VF_TLS_ASK_H2, VF_TLS_ASK_ANY /* h2, else http/1.1 */ };

struct vf_snapshot;
struct vf_tls_records;

/* Connections belong to `net`, which is borrowed. Returns 0, UV_ENOMEM or UV_EIO. */
int vf_tls_records_new(struct vf_net *net, struct vf_tls_records **out);

/* After all connections are gone. NULL is left alone. */
void vf_tls_records_free(struct vf_tls_records *records);

/* What the TLS connections of the process share. */
struct vf_tls *vf_tls_records_tls(struct vf_tls_records *records);

/* Returns the identity of a record, not retained; NULL when out of memory. */
struct vf_tls_identity *vf_tls_records_identity(struct vf_tls_records *records,
                                                const struct vf_snapshot *snapshot,
                                                const struct vf_snap_identity *record);

/* Returns the authorities of a record, not retained; NULL when out of memory. */
const struct vf_tls_trust *vf_tls_records_trust(struct vf_tls_records *records,
                                                const struct vf_snapshot *snapshot,
                                                const struct vf_snap_trust *record);

/* Puts TLS below `stream`, which connects to a backend. `host` is the backend's. Returns 0,
 * UV_EINVAL (no name that may be asked for) or UV_ENOMEM. */
int vf_tls_records_connect(struct vf_tls_records *records, const struct vf_snapshot *snapshot,
                           const struct vf_snap_upstream_tls *tls, enum vf_tls_ask ask,
                           struct vf_str host, struct vf_stream *stream);

/* Makes the client of a record, not kept; `trust` and `identity`, unless NULL, are what it has in
 * place of the record's. Returns 0, UV_ENOMEM or UV_EINVAL. */
int vf_tls_records_make_client(struct vf_tls_records *records, const struct vf_snapshot *snapshot,
                               const struct vf_snap_upstream_tls *tls, enum vf_tls_ask ask,
                               struct vf_tls_trust *trust, struct vf_tls_identity *identity,
                               struct vf_tls_client **out);

/* Puts TLS of such a client below `stream`, as vf_tls_records_connect does. */
int vf_tls_records_begin(const struct vf_snapshot *snapshot, const struct vf_snap_upstream_tls *tls,
                         struct vf_tls_client *client, struct vf_str host,
                         struct vf_stream *stream);

/* Forgets what `snapshot` does not have. */
void vf_tls_records_sweep(struct vf_tls_records *records, const struct vf_snapshot *snapshot);

#endif
