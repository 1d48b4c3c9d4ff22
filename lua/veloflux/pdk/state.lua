--- The node as it is now: figures of all its processes, its health, what runs and why. What the admin API shows of them
-- is made of these functions, by the plugins `monitoring` and `debug`.
--
--     local health = pdk.state.health()
--     if health.status ~= "healthy" then pdk.log.warn("not well: ", pdk.json.encode(health)) end
--
-- Everything is a copy. May be called in control only: in the functions of api.lua and jobs.lua. All but
-- `is_metrics_open` wait, while the core collects the figures.
local control = require "veloflux.runtime.control"

---@class pdk.state
local M = {}

local function ask(name, ...)
  control.current("state." .. name)
  return control.call("state_" .. name, ...)
end

--- Returns the state as GET /api/status shows it: traffic, pools, listeners, processes, errors.
---@async
---@return table
function M.status() return ask "status" end

--- Returns what anybody may know: that it runs, and its version.
---@async
---@return { status: string, version: string }
function M.banner() return ask "banner" end

--- Returns the page that shows the state to people. Its script asks GET /api/status for more.
---@async
---@param document table what `status` returns; pdk.json.null: the page asks for it, and the browser for credentials
---@return string html
---@return string[] headers name, value, name, value: its type, and what browsers may do with it
function M.page(document)
  if document == nil then error("state.page: expected what state.status returns, or pdk.json.null", 2) end
  return ask("page", document)
end

--- Returns the health of the node and its parts: {status, components, ...}.
---@async
---@return table
function M.health() return ask "health" end

--- Says whether the node may get traffic.
---@async
---@return boolean is_ready
---@return string? why not
function M.ready() return ask "ready" end

--- Returns the metrics as Prometheus reads them.
---@async
---@return string text
---@return string content_type
function M.exposition() return ask "exposition" end

--- Returns figures for a dashboard: requests, latencies, the machine.
---@async
---@return table
function M.figures() return ask "figures" end

--- Returns the rates of the last seconds, and their trends.
---@async
---@return table
function M.rates() return ask "rates" end

--- Returns what the node is and runs on.
---@async
---@return table
function M.info() return ask "info" end

--- Returns the version of the binary: {version, ...}.
---@async
---@return table
function M.version() return ask "version" end

--- Says whether /metrics is answered without authentication (`admin.metrics_open`).
---@return boolean
function M.is_metrics_open() return ask "is_metrics_open" end

--- Returns what pools, backends or routes do, in detail: routes in the order in which the router prefers them.
---@async
---@param what "pools"|"backends"|"routes"
---@param first? integer from 0, which is the default
---@param count? integer at most so many; all when left out
---@return table[] items
---@return integer total how many there are
function M.list(what, first, count)
  if what ~= "pools" and what ~= "backends" and what ~= "routes" then
    error("state.list: expected pools, backends or routes", 2)
  end
  return ask("list", what, first or 0, count or math.huge)
end

--- Returns what processes and plugins take: processor time, memory, lag of loops, times of handlers.
---@async
---@return table
function M.performance() return ask "performance" end

---@class pdk.state.question
---@field url string
---@field method? string GET unless given
---@field headers? table<string, string>
---@field client_ip? string
---@field consumer? string
---@field listener? string

--- Says what would become of a request: route and rivals, plugins, pool and backend, limits. Nothing is sent.
---@async
---@param question pdk.state.question
---@return table? answer
---@return pdk.problem.document? problem
function M.explain(question)
  if type(question) ~= "table" then error("state.explain: expected a table", 2) end
  return ask("explain", question)
end

--- Returns the log levels in force: {configured, level, subsystems}.
---@async
---@return table
function M.log_levels() return ask "log_levels" end

local MODES = { replace = true, put = true, merge = true }

--- Sets log levels at run time, in all processes; they hold through reloads. `?dry_run=true` of an endpoint that takes
--- it is heeded.
---@async
---@param levels { level?: string, subsystems?: table<string, string> } debug, info, warn or error; pdk.json.null: as in
--- the conf
---@param options? { mode?: "replace"|"put"|"merge", dry_run?: boolean } mode: what becomes of levels that are not
--- named: as in the conf, which is the default; or they stay; or subsystems stay, too, each for itself
---@return table? levels as `log_levels` returns them
---@return pdk.problem.document? problem
function M.set_log_levels(levels, options)
  if type(levels) ~= "table" then error("state.set_log_levels: expected a table", 2) end
  options = options or {}
  local mode = options.mode or "replace"
  if not MODES[mode] then error("state.set_log_levels: mode: expected replace, put or merge", 2) end
  local of = control.current "state.set_log_levels"
  return control.call("state_set_log_levels", levels, { mode = mode,
    is_dry = options.dry_run == true or of.dry_run == true })
end

return M
