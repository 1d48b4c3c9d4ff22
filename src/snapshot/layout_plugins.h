/* snapshot/layout_plugins.h - the records of a snapshot that are about plugins: their files, their
 * configurations, and in which order they run. Part of snapshot/layout.h, which says more; other
 * code includes that. */
#ifndef VF_SNAPSHOT_LAYOUT_PLUGINS_H
#define VF_SNAPSHOT_LAYOUT_PLUGINS_H

#include "snapshot/layout_base.h"

/* The phases of a plugin's handler, in the order in which an exchange comes through them. */
enum vf_phase {
    VF_PHASE_INIT_WORKER = 0, /* once in the life of a process */
    VF_PHASE_CONFIGURE,       /* once for each snapshot, with all configurations */
    VF_PHASE_CERTIFICATE,
    VF_PHASE_REWRITE,
    VF_PHASE_ACCESS,
    VF_PHASE_BALANCER,
    VF_PHASE_HEADER_FILTER,
    VF_PHASE_BODY_FILTER,
    VF_PHASE_LOG,
    VF_PHASE_TIMER,   /* no function of the handler's: what it started in the background */
    VF_PHASE_CONTROL, /* what a plugin does in control: endpoints, jobs, channels */
    VF_PHASES
};

struct vf_snap_plugin {
    uint64_t hash; /* of the names and texts of its files */
    struct vf_snap_text name;
    uint32_t slot;             /* state area */
    uint32_t phases;           /* bit 1 << enum vf_phase: those that handler.lua has */
    struct vf_snap_list files; /* VF_SNAP_PLUGIN_FILES, the handler first; none: control's */
};

struct vf_snap_plugin_file {
    struct vf_snap_text name;  /* as the plugin requires it: "handler", "util.parse" */
    struct vf_snap_text chunk; /* what messages call it: "plugins/cors/handler.lua" */
    struct vf_snap_text source;
};

enum vf_snap_scope {
    VF_SCOPE_GLOBAL = 0, /* widest */
    VF_SCOPE_TENANT,
    VF_SCOPE_POOL,
    VF_SCOPE_ROUTE,
    VF_SCOPE_CONSUMER /* narrowest */
};

enum vf_snap_on_error { VF_ON_ERROR_FAIL = 0, VF_ON_ERROR_CONTINUE };

/* A plugin with a configuration. */
struct vf_snap_instance {
    uint64_t hash; /* of its plugin's, `as`, on_error, config and meta: equal ones are alike */
    struct vf_snap_text as;     /* its name among the instances of one plugin */
    uint32_t plugin;            /* VF_SNAP_PLUGINS */
    uint32_t scope;             /* enum vf_snap_scope: the narrowest that had a part in it */
    uint32_t tenant;            /* VF_SNAP_TENANTS, or VF_SNAP_NONE: of no single tenant */
    int32_t priority;           /* the higher runs first */
    uint32_t on_error;          /* enum vf_snap_on_error */
    uint32_t phases;            /* bit 1 << enum vf_phase: of its plugin's, those it needs */
    struct vf_snap_text config; /* JSON, complete: defaults filled in */
    struct vf_snap_text meta;   /* JSON: what resolving at run time needs, see plugin/chain.lua */
    struct vf_snap_text source; /* "FILE:LINE", for messages; may be empty */
};

enum vf_snap_chain_kind {
    VF_CHAIN_ROUTE = 0, /* resolved: what runs, in that order */
    VF_CHAIN_CONSUMER   /* a consumer's own instances, to be resolved with those of a route */
};

struct vf_snap_chain {
    uint64_t hash;               /* of the members' hashes in their order, and the kind */
    uint32_t phases;             /* bit 1 << enum vf_phase: the union of its members' */
    uint32_t kind;               /* enum vf_snap_chain_kind */
    struct vf_snap_list members; /* VF_SNAP_MEMBERS */
};

/* What plugins may use. `off` is UINT64_MAX. */
struct vf_snap_plugin_limits {
    uint64_t cpu_us;         /* a handler while it runs, without the times when it waits */
    uint64_t memory_bytes;   /* of the Lua state of a process */
    uint64_t body_bytes;     /* of bodies that one exchange buffers for plugins */
    uint64_t trip_errors;    /* so many errors of an instance ... */
    uint64_t trip_window_ms; /* ... in this time ... */
    uint64_t trip_pause_ms;  /* ... and it is left out for this one */
};

#endif
