/* control/alarm.h - one timer of control's loop for Lua: veloflux.control.alarms keeps all that
 * waits and asks to be called when the first of it is due. It does not keep the loop alive. */
#ifndef VF_CONTROL_ALARM_H
#define VF_CONTROL_ALARM_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct lua_State;

struct vf_alarm { /* the caller's memory, zeroed; stays until the loop has ended */
    uv_timer_t timer;
    uv_idle_t idle; /* for what has no delay */
    struct lua_State *lua;
    bool is_open;
};

/* Begins. veloflux.control.alarms.ring is called in `lua`, which outlives the loop. */
void vf_alarm_open(struct vf_alarm *alarm, uv_loop_t *loop, struct lua_State *lua);

/* Rings once in `delay_ms`, instead of what was set before. Does nothing when it is not open. */
void vf_alarm_set(struct vf_alarm *alarm, uint64_t delay_ms);

/* Repeatable, also before `open`. It rings no more. */
void vf_alarm_close(struct vf_alarm *alarm);

#endif
