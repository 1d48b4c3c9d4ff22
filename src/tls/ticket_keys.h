/* tls/ticket_keys.h - what resumption tickets are sealed with (tls/tickets.c). The first key is for
 * new ones; those behind it still open older ones. All processes that serve the same names have the
 * same keys. */
#ifndef VF_TLS_TICKET_KEYS_H
#define VF_TLS_TICKET_KEYS_H

#include <stdint.h>

enum { VF_TLS_TICKET_KEYS = 3 };

struct vf_tls_ticket_key {
    uint8_t name[16]; /* stands in the ticket */
    uint8_t key[32];  /* AES-256-GCM */
};

struct vf_tls_ticket_keys {
    uint32_t n; /* 0: none yet */
    uint32_t reserved;
    struct vf_tls_ticket_key keys[VF_TLS_TICKET_KEYS];
};

#endif
