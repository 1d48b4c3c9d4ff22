--- Spans: named stretches of time of one exchange, with attributes and events, for whoever exports them.
-- Names and semantics follow OpenTelemetry's tracing API.
local network = require "veloflux.runtime.network"
local view = require "veloflux.runtime.view"
local encoding = require "veloflux.pdk.encoding"
local ffi = require "ffi"

---@class pdk.tracing
local M = {}

---@class pdk.tracing.span
---@field name string
---@field trace_id string 32 hexadecimal digits
---@field span_id string 16 hexadecimal digits
---@field parent_id string|nil
---@field kind integer
---@field attributes table<string, string|number|boolean>
---@field events {name: string, attributes: table, time_ns: number}[]
---@field start_time_ns number since the epoch
---@field end_time_ns number|nil once it has ended
---@field status integer|nil
local Span = {}
Span.__index = Span
Span.__metatable = false -- its methods serve all plugins

ffi.cdef [[ uint64_t vf_clock_ns(void); uint64_t vf_clock_wall_ms(void); ]]

--- Nanoseconds since the epoch, as a number (exact to a quarter of a microsecond). Within an exchange they come
-- from one reading of the wall clock and the monotonic clock, so that no span ends before it began.
local function now_ns()
  local values = view.values()
  if not values.epoch_ns then
    values.epoch_ns = tonumber(ffi.C.vf_clock_wall_ms()) * 1e6 - tonumber(ffi.C.vf_clock_ns())
  end
  return values.epoch_ns + tonumber(ffi.C.vf_clock_ns())
end

local function random_id(bytes) return encoding.hex_encode(require("veloflux.pdk.crypto").random_bytes(bytes)) end

local known = setmetatable({}, { __mode = "k" }) -- the spans that were started

local function spans()
  local values = view.values()
  values.spans = values.spans or {}
  return values.spans
end

--- Returns the span that is active in this exchange, or nil.
---@return pdk.tracing.span|nil
function M.active_span()
  network.check "tracing.active_span"
  return view.values().active_span
end

--- Makes a span the active one; its children name it as their parent.
---@param span pdk.tracing.span
function M.set_active_span(span)
  network.check "tracing.set_active_span"
  if not known[span] then error("tracing.set_active_span: expected a span", 2) end
  view.values().active_span = span
end

--- Starts a span, a child of the active one.
---@param name string
---@param options {parent?: pdk.tracing.span, span_kind?: integer, attributes?: table, start_time_ns?: number}|nil
---@return pdk.tracing.span span
function M.start_span(name, options)
  network.check "tracing.start_span"
  if type(name) ~= "string" or name == "" then error("tracing.start_span: expected a name", 2) end
  options = options or {}
  local parent = options.parent or M.active_span()
  local span = setmetatable({ name = name, parent = parent, trace_id = parent and parent.trace_id or random_id(16),
    span_id = random_id(8), parent_id = parent and parent.span_id, kind = options.span_kind or 1,
    attributes = {}, events = {}, start_time_ns = options.start_time_ns or now_ns() }, Span)
  known[span] = true
  for key, value in pairs(options.attributes or {}) do span:set_attribute(key, value) end
  table.insert(spans(), span)
  return span
end

--- Calls fn(span) for each span of the exchange, in the order in which they began.
---@param fn fun(span: pdk.tracing.span)
function M.process_span(fn)
  network.check "tracing.process_span"
  for _, span in ipairs(spans()) do fn(span) end
end

--- Sets an attribute.
---@param key string
---@param value string|number|boolean|nil
function Span:set_attribute(key, value)
  local kind = type(value)
  if value ~= nil and kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
    error("span:set_attribute: expected a string, number or boolean", 2)
  end
  self.attributes[key] = value
end

--- Notes an event within the span.
---@param name string
---@param attributes table|nil
---@param time_ns number|nil
function Span:add_event(name, attributes, time_ns)
  table.insert(self.events, { name = name, attributes = attributes or {}, time_ns = time_ns or now_ns() })
end

--- Notes an error as an event, and sets the status.
---@param err string
function Span:record_error(err)
  self:add_event("exception", { ["exception.message"] = tostring(err) })
  self:set_status(2)
end

--- Sets the status: 0 unset, 1 ok, 2 error.
---@param status integer
function Span:set_status(status) self.status = status end

--- Ends the span.
---@param end_time_ns number|nil
function Span:finish(end_time_ns)
  if self.end_time_ns then return end
  self.end_time_ns = end_time_ns or now_ns()
  local values = view.values()
  if values.active_span == self then values.active_span = self.parent end
end

return M
