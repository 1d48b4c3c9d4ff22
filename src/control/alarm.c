#include "control/alarm.h"

#include <lua.h>

#include "base/log.h"
#include "lua/state.h"

static void ring(struct vf_alarm *alarm)
{
    if (vf_lua_call(alarm->lua, "veloflux.control.alarms", "ring", 0, NULL) != 0)
        vf_log_error(NULL, "control.fault", "event=alarm error=%s", lua_tostring(alarm->lua, -1));
    lua_settop(alarm->lua, 0);
}

static void on_time(uv_timer_t *timer)
{
    ring(timer->data);
}

static void on_idle(uv_idle_t *idle)
{
    uv_idle_stop(idle);
    ring(idle->data);
}

void vf_alarm_open(struct vf_alarm *alarm, uv_loop_t *loop, struct lua_State *lua)
{
    alarm->lua = lua;
    alarm->is_open = true;
    alarm->timer.data = alarm;
    uv_timer_init(loop, &alarm->timer);
    uv_unref((uv_handle_t *)&alarm->timer);
    alarm->idle.data = alarm;
    uv_idle_init(loop, &alarm->idle);
    uv_unref((uv_handle_t *)&alarm->idle);
}

void vf_alarm_set(struct vf_alarm *alarm, uint64_t delay_ms)
{
    if (!alarm->is_open)
        return;
    uv_timer_stop(&alarm->timer);
    uv_idle_stop(&alarm->idle);
    if (delay_ms == 0) { /* a timer would ring before the loop looks for events */
        uv_idle_start(&alarm->idle, on_idle);
        return;
    }
    uv_update_time(alarm->timer.loop); /* Lua may have worked for long since the loop looked */
    uv_timer_start(&alarm->timer, on_time, delay_ms, 0);
}

void vf_alarm_close(struct vf_alarm *alarm)
{
    if (!alarm->is_open)
        return;
    alarm->is_open = false;
    uv_close((uv_handle_t *)&alarm->timer, NULL);
    uv_close((uv_handle_t *)&alarm->idle, NULL);
}
