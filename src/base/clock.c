#include "base/clock.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Of the plugin kit, which moves them. */
static struct {
    bool is_held;
    uint64_t ns, wall_ns;
} held;

void vf_clock_hold(uint64_t ns, uint64_t wall_ms)
{
    held.ns = ns;
    held.wall_ns = wall_ms * 1000000;
    held.is_held = true;
}

void vf_clock_move(uint64_t ns)
{
    held.ns += ns;
    held.wall_ns += ns;
}

void vf_clock_release(void)
{
    held.is_held = false;
}

static uint64_t read_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

uint64_t vf_clock_true_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

uint64_t vf_clock_cost_ns(void)
{
    return read_ns(held.is_held ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC);
}

uint64_t vf_clock_of(uint64_t cost_ns)
{
    return held.is_held ? held.ns : cost_ns;
}

uint64_t vf_clock_ns(void)
{
    return held.is_held ? held.ns : vf_clock_true_ns();
}

uint64_t vf_clock_wall_ms(void)
{
    struct timespec now;
    if (held.is_held)
        return held.wall_ns / 1000000;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000ULL + (uint64_t)now.tv_nsec / 1000000ULL;
}

void vf_clock_rfc3339(uint64_t wall_ms, char out[VF_CLOCK_RFC3339_BYTES])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;
    char text[64];
    gmtime_r(&seconds, &utc);
    snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900,
             utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
             (int)(wall_ms % 1000));
    memcpy(out, text, VF_CLOCK_RFC3339_BYTES);
}

void vf_clock_http_date(uint64_t wall_ms, char out[VF_CLOCK_HTTP_DATE_BYTES])
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;
    char text[64];
    gmtime_r(&seconds, &utc);
    snprintf(text, sizeof(text), "%s, %02d %s %04d %02d:%02d:%02d GMT", days[utc.tm_wday],
             utc.tm_mday, months[utc.tm_mon], utc.tm_year + 1900, utc.tm_hour, utc.tm_min,
             utc.tm_sec);
    memcpy(out, text, VF_CLOCK_HTTP_DATE_BYTES);
}
