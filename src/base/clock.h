/* base/clock.h - the two clocks: monotonic for durations, wall clock for what people read. */
#ifndef VF_BASE_CLOCK_H
#define VF_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* Returns CLOCK_MONOTONIC in nanoseconds. */
uint64_t vf_clock_ns(void);

/* The same, also while the clocks are held. */
uint64_t vf_clock_true_ns(void);

/* The same, to measure what code costs. While the clocks are held: the processor time of this
 * thread, which does not pass while others have the processor. May be called in a signal handler.
 */
uint64_t vf_clock_cost_ns(void);

/* Returns what vf_clock_ns says when vf_clock_cost_ns says `cost_ns`: one reading of the clock for
 * both. */
uint64_t vf_clock_of(uint64_t cost_ns);

/* Returns the time since 1970-01-01 UTC in milliseconds. */
uint64_t vf_clock_wall_ms(void);

enum { VF_CLOCK_RFC3339_BYTES = 24, VF_CLOCK_HTTP_DATE_BYTES = 29 };

/* Writes `wall_ms` as "2026-11-23T18:40:00.123Z" (24 bytes, no NUL; RFC 3339). */
void vf_clock_rfc3339(uint64_t wall_ms, char out[VF_CLOCK_RFC3339_BYTES]);

/* Writes `wall_ms` as "Mon, 23 Nov 2026 18:40:00 GMT" (29 bytes, no NUL; IMF-fixdate, RFC 9110
 * section 5.6.7). */
void vf_clock_http_date(uint64_t wall_ms, char out[VF_CLOCK_HTTP_DATE_BYTES]);

/* Both clocks stand still from here on, at `ns` and `wall_ms`, and only vf_clock_move moves them,
 * by `ns`: the plugin kit plays a day in a moment. They run again from vf_clock_release on; until
 * then no thread but the caller's may look at them. */
void vf_clock_hold(uint64_t ns, uint64_t wall_ms);
void vf_clock_move(uint64_t ns);
void vf_clock_release(void);

#endif
