--- What the runtime says about plugins in the process log: one event, one line, with plugin, phase, route
-- and request id.
local view = require "veloflux.runtime.view"
local task = require "veloflux.runtime.task"
local C = require("ffi").C

local M = {}

M.DEBUG, M.INFO, M.WARN, M.ERROR = 0, 1, 2, 3 -- enum vf_log_level

local SEPARATOR = "\31" -- VF_LOG_PAIR_END

--- Writes one line.
-- @param level M.DEBUG to M.ERROR
-- @param event a dotted name
-- @param ... key, value, key, value: texts and numbers; nil values are left out
function M.write(level, event, ...)
  local pairs_text = {}
  for i = 1, select("#", ...), 2 do
    local key, value = select(i, ...)
    if value ~= nil then
      pairs_text[#pairs_text + 1] = key .. "=" .. tostring(value):gsub(SEPARATOR, " "):gsub("%z", "\\0")
    end
  end
  C.vf_log_pairs(level, event, table.concat(pairs_text, SEPARATOR))
end

--- Returns route and request id of the exchange that runs, nil without one.
local function place()
  if task.run.ex == nil then return nil, nil end
  return view.text(view.response().route), view.text_of(view.REQUEST_ID)
end

local function label(instance)
  return instance.as ~= instance.name and instance.as or nil
end

--- What LuaJIT says when there was no stack left to describe an error with.
local NO_STACK = "error in error handling"

--- A handler has raised.
-- @param message with its traceback
function M.handler_failed(instance, phase, message)
  if message == NO_STACK then message = "stack overflow: a function calls itself without end" end
  local route, request_id = place()
  M.write(M.ERROR, "plugin.failed", "plugin", instance.name, "as", label(instance), "phase", phase, "route", route,
    "request_id", request_id, "error", message)
end

--- An instance has failed too often and is left out for a while.
function M.tripped(instance)
  M.write(M.ERROR, "plugin.tripped", "plugin", instance.name, "as", label(instance),
    "message", "too many errors: it is left out for a while")
end

return M
