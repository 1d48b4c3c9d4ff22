/* snapshot/relations.h - what rules of single fields (snapshot/rules.h) cannot say of a snapshot:
 * how the fields of a record, and those of records that it refers to, go together. For
 * snapshot/check.c, once all single fields hold. */
#ifndef VF_SNAPSHOT_RELATIONS_H
#define VF_SNAPSHOT_RELATIONS_H

#include <stdbool.h>
#include <stdint.h>

struct vf_snapshot;

/* True when records of the section have to go together with anything. */
bool vf_relations_has(uint32_t section);

/* Returns what is wrong with a record, a word or two; NULL: nothing. Sections are judged in their
 * order: what one refers to in those before it is sound. */
const char *vf_relations_fault(const struct vf_snapshot *snapshot, uint32_t section,
                               uint32_t index);

/* True for none, and for a chain that a route may have: not a consumer's. */
bool vf_relations_is_route_chain(const struct vf_snapshot *snapshot, uint32_t chain);

#endif
