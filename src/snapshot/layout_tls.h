/* snapshot/layout_tls.h - the records of a snapshot that are about TLS: how listeners and pools
 * shake hands, certificates, and whose are believed. Part of snapshot/layout.h, which says more;
 * other code includes that. */
#ifndef VF_SNAPSHOT_LAYOUT_TLS_H
#define VF_SNAPSHOT_LAYOUT_TLS_H

#include "snapshot/layout_base.h"

enum vf_snap_client_auth {
    VF_CLIENT_AUTH_NONE = 0,
    VF_CLIENT_AUTH_OPTIONAL,
    VF_CLIENT_AUTH_REQUIRED
};
enum vf_snap_tls_flags {
    VF_TLS_TICKETS = 1,          /* sessions may be resumed */
    VF_TLS_SENDS_CERTIFICATE = 2 /* backends are told of good certificates of clients */
};

/* How a listener shakes hands. */
struct vf_snap_tls {
    uint64_t id;          /* stable: hash of the listener's name */
    uint32_t min_version; /* 12 or 13 */
    uint32_t flags;       /* enum vf_snap_tls_flags */
    uint64_t handshake_ms;
    uint32_t handshake_rate;  /* a second, from one address; 0: off */
    uint32_t handshake_burst; /* of them at once */
    struct vf_snap_text alpn; /* protocols, the best first, a newline between two */
    uint32_t client_auth;     /* enum vf_snap_client_auth */
    uint32_t depth;           /* certificates between a client's and its authority's, at most */
    uint32_t trust;           /* VF_SNAP_TRUSTS, or VF_SNAP_NONE without client_auth */
    uint32_t reserved;
    struct vf_snap_list names;    /* VF_SNAP_SERVER_NAMES */
    struct vf_snap_list defaults; /* VF_SNAP_NAME_IDENTITIES: for all other names, and for none */
};

/* A certificate chain and its key. */
struct vf_snap_identity {
    uint64_t id;               /* of its content */
    uint64_t not_after_s;      /* wall clock: when the first of the chain ends */
    struct vf_snap_text name;  /* for messages */
    struct vf_snap_text chain; /* DER certificates, one behind the other */
    struct vf_snap_text key;   /* DER */
};

struct vf_snap_server_name {
    struct vf_snap_text name;       /* lower case: "a.example.com" or "*.example.com" */
    struct vf_snap_list identities; /* VF_SNAP_NAME_IDENTITIES, the best first; at most four */
};

/* Whose certificates are believed. */
struct vf_snap_trust {
    uint64_t id;                     /* of its content */
    struct vf_snap_text authorities; /* DER certificates, one behind the other */
    struct vf_snap_text revocations; /* DER revocation lists; may be empty */
};

/* What a route wants of the certificates of clients. */
struct vf_snap_client_cert {
    uint32_t mode;  /* enum vf_snap_client_auth, not NONE */
    uint32_t trust; /* VF_SNAP_TRUSTS; VF_SNAP_NONE: what its listener believes, and `depth` is 0 */
    uint32_t depth; /* certificates between a client's and its authority's, at most */
    uint32_t flags; /* VF_TLS_SENDS_CERTIFICATE */
};

/* How we shake hands with backends. */
struct vf_snap_upstream_tls {
    uint64_t id;              /* of its content */
    struct vf_snap_text name; /* that must be in the certificate; empty: the backend's host */
    struct vf_snap_text pins; /* SHA-256 of public keys, 32 bytes each, one of which it must be */
    uint32_t verify;          /* 0: any certificate will do */
    uint32_t depth;           /* certificates between a backend's and its authority's, at most */
    uint32_t trust;           /* VF_SNAP_TRUSTS or VF_SNAP_NONE */
    uint32_t identity;        /* VF_SNAP_IDENTITIES: ours; or VF_SNAP_NONE */
    uint32_t min_version;     /* 12 or 13 */
    uint32_t reserved;
};

#endif
