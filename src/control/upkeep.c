#include "control/upkeep.h"

#include "base/clock.h"
#include "snapshot/cells.h"
#include "snapshot/state.h"
#include "snapshot/tickets.h"

enum { INTERVAL_MS = 3600 * 1000, TICKET_KEY_MS = 8 * 3600 * 1000 };

static void on_interval(uv_timer_t *timer)
{
    struct vf_upkeep *upkeep = timer->data;
    vf_cells_sweep(vf_state_cells(upkeep->state), vf_clock_ns());
    vf_tickets_turn(upkeep->state, vf_clock_wall_ms(), TICKET_KEY_MS);
}

void vf_upkeep_start(struct vf_upkeep *upkeep, uv_loop_t *loop, struct vf_state *state)
{
    upkeep->state = state;
    upkeep->is_started = true;
    upkeep->timer.data = upkeep;
    uv_timer_init(loop, &upkeep->timer);
    uv_timer_start(&upkeep->timer, on_interval, INTERVAL_MS, INTERVAL_MS);
    vf_tickets_turn(state, vf_clock_wall_ms(), TICKET_KEY_MS);
}

void vf_upkeep_stop(struct vf_upkeep *upkeep)
{
    if (!upkeep->is_started)
        return;
    upkeep->is_started = false;
    uv_close((uv_handle_t *)&upkeep->timer, NULL);
}
