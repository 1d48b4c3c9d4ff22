/* snapshot/rules.h - what single fields of the records of layout.h have to be: the table behind
 * check.h, and where the texts of a snapshot are. */
#ifndef VF_SNAPSHOT_RULES_H
#define VF_SNAPSHOT_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vf_rule_kind {
    VF_RULE_TEXT = 0, /* bytes within the snapshot */
    VF_RULE_LINE,     /* the same without control characters but tab */
    VF_RULE_TOKEN,    /* RFC 9110 section 5.6.2 */
    VF_RULE_INDEX,    /* below the number of records of section `limit` */
    VF_RULE_OPTIONAL, /* the same or VF_SNAP_NONE */
    VF_RULE_LIST,     /* within section `limit` */
    VF_RULE_BELOW     /* a number below `limit` */
};

struct vf_rule {
    uint8_t section;
    uint8_t kind; /* enum vf_rule_kind */
    uint16_t offset;
    uint32_t limit;
    const char *field; /* its name, for messages */
};

struct vf_rules {
    const struct vf_rule *list; /* static */
    size_t n;
};

/* Returns the rules of all records; those of a section are next to each other. */
struct vf_rules vf_rules_of_records(void);

/* Returns the rules of the settings; their `section` says nothing. */
struct vf_rules vf_rules_of_settings(void);

/* Returns true when the field is a struct vf_snap_text. */
bool vf_rules_is_text(const struct vf_rule *rule);

/* Returns what a record of a section is called in messages. */
const char *vf_rules_noun(uint32_t section);

#endif
