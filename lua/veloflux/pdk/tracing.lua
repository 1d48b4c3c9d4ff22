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
---@field should_sample boolean whether it is to be exported
local Span = {}
Span.__index = Span
Span.__metatable = false -- its methods serve all plugins

---@class pdk.tracing.options
---@field parent? pdk.tracing.span instead of the active one
---@field trace_id? string 32 hexadecimal digits: the caller's
---@field parent_id? string 16 hexadecimal digits: the caller's span
---@field should_sample? boolean false: not to be exported
---@field span_kind? integer as OpenTelemetry has them (1: internal)
---@field attributes? table<string, string|number|boolean>
---@field start_time_ns? number since the epoch

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

--- Makes a span the active one; its children name it as their parent. nil: none is.
---@param span pdk.tracing.span|nil
function M.set_active_span(span)
  network.check "tracing.set_active_span"
  if span ~= nil and not known[span] then error("tracing.set_active_span: expected a span", 2) end
  view.values().active_span = span
end

local OPTIONS = { start_time_ns = "number", span_kind = "number", should_sample = "boolean", attributes = "table",
  trace_id = "string", parent_id = "string" }

local function check_options(options)
  if type(options) ~= "table" then error("tracing.start_span: expected a table of options", 3) end
  for name, kind in pairs(OPTIONS) do
    if options[name] ~= nil and type(options[name]) ~= kind then
      error(("tracing.start_span: %s: expected a %s, got %s"):format(name, kind, type(options[name])), 3)
    end
  end
  if options.parent ~= nil and not known[options.parent] then
    error("tracing.start_span: parent: expected a span", 3)
  end
end

--- Returns whether a span is to be exported: as its parent is, or as the options say.
local function samples(parent, wish)
  if parent then return parent.should_sample end
  return wish ~= false
end

--- Starts a span, a child of the active one. `trace_id` and `parent_id` are those of the caller, as text, for a span
-- that has no parent here.
---@param name string
---@param options pdk.tracing.options|nil
---@return pdk.tracing.span span
function M.start_span(name, options)
  network.check "tracing.start_span"
  if type(name) ~= "string" or name == "" then error("tracing.start_span: expected a name", 2) end
  options = options or {}
  check_options(options)
  local parent = options.parent or M.active_span()
  local span = setmetatable({ name = name, parent = parent, span_id = random_id(8),
    trace_id = parent and parent.trace_id or options.trace_id or random_id(16),
    parent_id = parent and parent.span_id or options.parent_id, kind = options.span_kind or 1,
    should_sample = samples(parent, options.should_sample), is_recording = true,
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
  if type(key) ~= "string" then error("span:set_attribute: expected a string as key", 2) end
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
  if type(name) ~= "string" then error("span:add_event: expected a name", 2) end
  if attributes ~= nil and type(attributes) ~= "table" then
    error("span:add_event: expected a table of attributes", 2)
  end
  table.insert(self.events, { name = name, attributes = attributes or {}, time_ns = time_ns or now_ns() })
end

--- Notes an error as an event. The status stays: see set_status.
---@param err string
function Span:record_error(err) self:add_event("exception", { ["exception.message"] = tostring(err) }) end

--- Sets the status: 0 unset, 1 ok, 2 error.
---@param status integer
function Span:set_status(status)
  if type(status) ~= "number" then error("span:set_status: expected a number", 2) end
  self.status = status
end

--- Ends the span.
---@param end_time_ns number|nil
function Span:finish(end_time_ns)
  if self.end_time_ns then return end
  if end_time_ns ~= nil and (type(end_time_ns) ~= "number" or end_time_ns < self.start_time_ns) then
    error("span:finish: expected a time that is not before its start", 2)
  end
  self.end_time_ns = end_time_ns or now_ns()
  local values = view.values()
  if values.active_span == self then values.active_span = self.parent end
end

return M
