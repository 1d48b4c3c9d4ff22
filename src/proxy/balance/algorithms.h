/* proxy/balance/algorithms.h - what the algorithms of balance.h share. Private to them.
 * `balance.c` collects the eligible backends of a pool; an algorithm chooses among them. */
#ifndef VF_PROXY_BALANCE_ALGORITHMS_H
#define VF_PROXY_BALANCE_ALGORITHMS_H

#include "base/random.h"
#include "proxy/balance/balance.h"
#include "snapshot/state.h"

/* An eligible backend of the pool under consideration. */
struct vf_candidate {
    uint64_t id;
    uint32_t index;  /* VF_SNAP_BACKENDS */
    uint32_t slot;   /* state area */
    uint32_t weight; /* in force, > 0 */
    uint32_t load;   /* scratch of an algorithm: exchanges in flight */
};

/* What this process remembers of a backend between picks. */
struct vf_balance_memory {
    uint64_t id;       /* whose it is; another: the slot has a new owner, begin anew */
    int64_t current;   /* smooth weighted round robin: how much it is owed */
    double cost_us;    /* peak_ewma: 0 before the first answer */
    uint64_t stamp_ns; /* peak_ewma: when cost_us was right */
};

struct vf_balancers {
    struct vf_state *state;
    int block;
    uint64_t seed;
    struct vf_random random;
    uint64_t blocks_until_ns; /* when `blocks` is looked up again */
    uint32_t n_blocks;
    uint32_t blocks[VF_STATE_BLOCKS]; /* leased by workers, our own included */
    uint64_t total_weight;            /* of the candidates */
    uint32_t n_candidates;
    struct vf_candidate candidates[VF_STATE_BACKENDS]; /* pages are touched as pools need them */
    struct vf_balance_memory memories[VF_STATE_BACKENDS];
};

/* Returns the exchanges in flight at the backend of `slot`, all workers together. */
uint32_t vf_balance_load(const struct vf_balancers *balancers, uint32_t slot);

/* Returns the memory of a backend, zeroed when the slot had another owner. */
struct vf_balance_memory *vf_balance_memory_of(struct vf_balancers *balancers, uint32_t slot,
                                               uint64_t id);

/* Draws two different candidates with probabilities in proportion to their weights; needs two. */
void vf_balance_draw_two(struct vf_balancers *balancers, struct vf_candidate **first,
                         struct vf_candidate **second);

/* Each chooses one of the first n_candidates (> 0) of `balancers`; they may change their order and
 * number. */
struct vf_candidate *vf_balance_round_robin(struct vf_balancers *balancers);
struct vf_candidate *vf_balance_least_conn(struct vf_balancers *balancers);
struct vf_candidate *vf_balance_random(struct vf_balancers *balancers);
struct vf_candidate *vf_balance_rendezvous(struct vf_balancers *balancers, uint64_t key_hash);
struct vf_candidate *vf_balance_bounded(struct vf_balancers *balancers, uint64_t key_hash);
struct vf_candidate *vf_balance_peak_ewma(struct vf_balancers *balancers, uint64_t now_ns);

/* Feeds peak_ewma: an answer after `latency_us`, or a failure. */
void vf_balance_peak_ewma_observe(struct vf_balance_memory *memory, uint64_t latency_us,
                                  uint64_t now_ns);
void vf_balance_peak_ewma_failed(struct vf_balance_memory *memory, uint64_t now_ns);

#endif
