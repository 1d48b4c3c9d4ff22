--- Metrics of a plugin, in /metrics beside those of the node: counters, gauges and histograms with labels.
--
--     local requests = pdk.metrics.counter("requests", "Requests looked at.", { "route", "verdict" })
--     local sizes = pdk.metrics.histogram("body_bytes", "Size of bodies.", {}, { 1000, 10000, 100000 })
--
--     requests:inc(1, route, "allowed")      -- veloflux_plugin_NAME_requests_total{route="site",verdict="allowed"} 1
--     sizes:observe(#body)
--
-- Make them where the plugin is loaded, and keep them in locals; label values follow the number, in the order of the
-- names. The names get `veloflux_plugin_` and the plugin's name in front, those of counters `_total` behind. Two calls
-- with the same name are the same metric; instances of a plugin share it (give it a label to keep them apart).
--
-- Each worker counts by itself, with a plain store and without a lock; /metrics shows sums over all workers, those that
-- have ended or were killed included. Gauges end with their worker; how those of several workers are combined says
-- `combine`: "sum" (what each has, as connections), "max", "min", or "last" (what was set last, as a temperature).
--
-- A metric has a ceiling of label values: beyond 100 different sets (`max_series`) all others are counted as "other",
-- and veloflux_plugin_metrics_collapsed_total grows. So never label by what clients choose. A worker has 512 KiB for
-- all; when that is used up new ones are not counted (veloflux_plugin_metrics_dropped_total).
--
-- May be called in every phase and in timers; only numbers are not counted while the plugin's code is loaded.
local ffi = require "ffi"
local area = require "veloflux.runtime.area"
local log = require "veloflux.runtime.metrics_log"
local series = require "veloflux.series"

local MOST_LABELS, MOST_BOUNDS, MOST_SERIES, MOST_TEXT = 6, 40, 1000, 128
local DEFAULT_SERIES = 100
local PREFIX, OTHER = "veloflux_plugin_", "other"
local clock = ffi.C.vf_clock_ns

local DEFAULT_BOUNDS = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 }

---@class pdk.metrics
local M = {}

---@class pdk.metrics.options
---@field max_series? integer how many different sets of label values there may be, 1 to 1,000 (100)
---@field combine? "sum"|"max"|"min"|"last" of a gauge, see above ("sum")

-- Figures of the metrics themselves -------------------------------------------------------------------

local COLLAPSED = { name = PREFIX .. "metrics_collapsed_total", kind = "counter", labels = { "metric" },
  help = "Numbers counted under \"other\" because a metric of a plugin has too many label values." }
local DROPPED = { name = PREFIX .. "metrics_dropped_total", kind = "counter", labels = {},
  help = "Numbers that were not counted because a process has no room for more metrics." }

local ESCAPES = { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" }

local UTF8 = { "^[\194-\223][\128-\191]", "^[\224-\239][\128-\191][\128-\191]",
  "^[\240-\244][\128-\191][\128-\191][\128-\191]" }

--- Replaces what is no UTF-8 in a run of bytes from 128 on.
local function clean(run)
  local parts, at = {}, 1
  while at <= #run do
    local first, last = nil, nil
    for i = 1, #UTF8 do
      if not first then first, last = run:find(UTF8[i], at) end
    end
    parts[#parts + 1] = first and run:sub(first, last) or "?"
    at = (last or at) + 1
  end
  return table.concat(parts)
end

local function label_text(value)
  if value == nil then return "" end
  local text = tostring(value):sub(1, MOST_TEXT)
  text = text:gsub("[%z\1-\9\11-\31\127]", "?"):gsub("[\128-\255]+", clean):gsub('[\\"\n]', ESCAPES)
  return text
end

--- Writes labels as Prometheus wants them, all of them UTF-8.
local function labels_text(names, values)
  if #names == 0 then return "" end
  local parts = {}
  for i, name in ipairs(names) do parts[i] = ('%s="%s"'):format(name, label_text(values[i])) end
  return "{" .. table.concat(parts, ",") .. "}"
end

--- Returns the numbers of one of the two metrics above; nil where there is no room for that either.
local function own(family, metric)
  local at = log.family(series.family_text(family))
  return at and log.series(at, labels_text(family.labels, { metric }), 1, false)
end

local dropped -- double *, there from the start: it counts when there is no room

local function note_dropped()
  if dropped then dropped[0] = dropped[0] + 1 end
end

local function note_collapsed(metric)
  local values = own(COLLAPSED, metric)
  if values then values[0] = values[0] + 1 end
end

-- Finding series ----------------------------------------------------------------------------------------

--- Gives the metric its full name: the plugin is known once it runs.
local function resolve(self)
  local plugin = area.prefix("metrics." .. self.kind, 5):sub(1, -2)
  self.full_name = PREFIX .. plugin:lower():gsub("[^%w]", "_") .. "_" .. self.name
  self.family = log.family(series.family_text { name = self.full_name, kind = self.kind, help = self.help,
    labels = self.labels, bounds = self.bounds, combine = self.combine })
  return self.family
end

local function make(self, ...)
  local given, others = { ... }, {}
  for i = 1, #self.labels do others[i] = OTHER end
  local labels, other = labels_text(self.labels, given), labels_text(self.labels, others)
  if labels ~= other and not log.find(self.family, labels) and not log.admit(self.full_name, labels, self.most) then
    note_collapsed(self.full_name)
    return log.series(self.family, other, self.n_values, self.kind == "gauge"), false
  end
  return log.series(self.family, labels, self.n_values, self.kind == "gauge"), true
end

--- Remembers the numbers of label values, so that the next look is one through tables.
local function remember(self, values, ...)
  local n = #self.labels
  if n == 0 then
    self.only = values
    return
  end
  self.n_known = self.n_known + 1
  if self.n_known > 4 * self.most then -- the same texts again and again, as other numbers
    self.known, self.n_known = {}, 1
  end
  local node = self.known
  for i = 1, n - 1 do
    local label = select(i, ...)
    node[label] = node[label] or {}
    node = node[label]
  end
  node[(select(n, ...))] = values
end

local function find_slowly(self, a, b, c, d, e, f)
  dropped = dropped or own(DROPPED)
  if not self.family and not resolve(self) then
    note_dropped()
    return nil
  end
  local values, is_own = make(self, a, b, c, d, e, f)
  if not values then
    note_dropped()
  elseif is_own then
    for i = 1, #self.labels do
      local label = select(i, a, b, c, d, e, f)
      if label == nil or label ~= label then return values end -- what no table has as a key
    end
    remember(self, values, a, b, c, d, e, f)
  end
  return values
end

--- Returns the numbers of the series with these label values, double *; nil when there is no room.
local function find(self, a, b, c, d, e, f)
  local n = self.n_labels
  if n == 0 then return self.only or find_slowly(self) end
  local node = self.known[a]
  if n >= 2 and node then node = node[b] end
  if n >= 3 and node then node = node[c] end
  if n >= 4 and node then node = node[d] end
  if n >= 5 and node then node = node[e] end
  if n >= 6 and node then node = node[f] end
  return node or find_slowly(self, a, b, c, d, e, f)
end

-- Counting ------------------------------------------------------------------------------------------------

local function expect_number(value, name)
  if type(value) ~= "number" or value ~= value then
    error(("%s: expected a number, got %s"):format(name, tostring(value)), 3)
  end
end

---@class pdk.metrics.counter
local Counter = {}
Counter.__index = Counter
Counter.__metatable = false -- its methods serve all plugins

--- Adds to a counter. Up to six label values, strings, numbers or booleans, follow.
---@param by? number 1 when left out; not negative
---@param ... string|number|boolean
function Counter:inc(by, a, b, c, d, e, f)
  if by == nil then by = 1 else expect_number(by, "metrics.counter") end
  if by < 0 then error("metrics.counter: expected a number from 0 on, got " .. by, 2) end
  local values = find(self, a, b, c, d, e, f)
  if values then values[0] = values[0] + by end
end

---@class pdk.metrics.gauge
local Gauge = {}
Gauge.__index = Gauge
Gauge.__metatable = false

local function stamp(self) return self.combine == "last" and tonumber(clock()) or 1 end

--- Sets a gauge.
---@param value number
---@param ... string|number|boolean
function Gauge:set(value, a, b, c, d, e, f)
  expect_number(value, "metrics.gauge")
  local values = find(self, a, b, c, d, e, f)
  if values then values[0], values[1] = value, stamp(self) end
end

--- Adds to a gauge.
---@param by? number 1 when left out
---@param ... string|number|boolean
function Gauge:inc(by, a, b, c, d, e, f)
  if by == nil then by = 1 else expect_number(by, "metrics.gauge") end
  local values = find(self, a, b, c, d, e, f)
  if values then values[0], values[1] = values[0] + by, stamp(self) end
end

--- Takes from a gauge.
---@param by? number 1 when left out
---@param ... string|number|boolean
function Gauge:dec(by, a, b, c, d, e, f)
  if by == nil then by = 1 else expect_number(by, "metrics.gauge") end
  local values = find(self, a, b, c, d, e, f)
  if values then values[0], values[1] = values[0] - by, stamp(self) end
end

---@class pdk.metrics.histogram
local Histogram = {}
Histogram.__index = Histogram
Histogram.__metatable = false

--- Adds an observation.
---@param value number
---@param ... string|number|boolean
function Histogram:observe(value, a, b, c, d, e, f)
  expect_number(value, "metrics.histogram")
  local values = find(self, a, b, c, d, e, f)
  if not values then return end
  local bounds, n = self.bounds, #self.bounds
  local i = 1
  while i <= n and value > bounds[i] do i = i + 1 end
  values[i - 1] = values[i - 1] + 1
  values[n + 1] = values[n + 1] + value
end

-- Making metrics ------------------------------------------------------------------------------------------

local function check_labels(labels, kind)
  if labels == nil then return {} end
  if type(labels) ~= "table" then error(("metrics.%s: expected a list of label names"):format(kind), 4) end
  if #labels > MOST_LABELS then error(("metrics.%s: more than %d labels"):format(kind, MOST_LABELS), 4) end
  for _, name in ipairs(labels) do
    if type(name) ~= "string" or not name:find "^%a[%w_]*$" or name == "le" or #name > 40 then
      error(("metrics.%s: %s is no name of a label: letters, digits and _, not le"):format(kind, tostring(name)), 4)
    end
  end
  return labels
end

local COMBINES = { sum = true, max = true, min = true, last = true }

local function check_options(options, kind)
  options = options or {}
  local most = options.max_series or DEFAULT_SERIES
  if type(most) ~= "number" or not (most >= 1 and most <= MOST_SERIES) then
    error(("metrics.%s: max_series: expected 1 to %d, got %s"):format(kind, MOST_SERIES, tostring(most)), 4)
  end
  if options.combine ~= nil and not (kind == "gauge" and COMBINES[options.combine]) then
    error(("metrics.%s: combine: a gauge has one of sum, max, min and last"):format(kind), 4)
  end
  return most
end

local function new(class, kind, name, help, labels, options)
  if type(name) ~= "string" or not name:find "^%l[%l%d_]*$" or #name > 64 then
    error(("metrics.%s: expected a name of lower-case letters, digits and _, got %s"):format(kind, tostring(name)), 3)
  end
  if type(help) ~= "string" or #help > 400 then error(("metrics.%s: expected a help text"):format(kind), 3) end
  labels = check_labels(labels, kind)
  return setmetatable({ kind = kind, name = name, help = help, labels = labels, n_labels = #labels, known = {},
    n_known = 0, most = check_options(options, kind) }, class)
end

--- Makes a counter: it only grows.
---@param name string lower-case letters, digits and _
---@param help string what it counts, for people
---@param labels? string[] names of at most six labels
---@param options? pdk.metrics.options
---@return pdk.metrics.counter
function M.counter(name, help, labels, options)
  local counter = new(Counter, "counter", name, help, labels, options)
  counter.n_values = 1
  if not name:find "_total$" then counter.name = name .. "_total" end
  return counter
end

--- Makes a gauge: it goes up and down.
---@param name string
---@param help string
---@param labels? string[]
---@param options? pdk.metrics.options
---@return pdk.metrics.gauge
function M.gauge(name, help, labels, options)
  local gauge = new(Gauge, "gauge", name, help, labels, options)
  gauge.n_values, gauge.combine = 2, options and options.combine or "sum"
  return gauge
end

--- Makes a histogram: how many observations are at or below each of some bounds.
---@param name string
---@param help string
---@param labels? string[]
---@param bounds? number[] upper bounds, ascending, at most 40; those of Prometheus' clients in seconds when left out
---@param options? pdk.metrics.options
---@return pdk.metrics.histogram
function M.histogram(name, help, labels, bounds, options)
  bounds = bounds or DEFAULT_BOUNDS
  if type(bounds) ~= "table" or #bounds == 0 or #bounds > MOST_BOUNDS then
    error(("metrics.histogram: expected a list of 1 to %d bounds"):format(MOST_BOUNDS), 2)
  end
  for i, bound in ipairs(bounds) do
    local is_sound = type(bound) == "number" and bound < math.huge and (i == 1 or bound > bounds[i - 1])
    if not is_sound then error("metrics.histogram: bounds: expected ascending numbers", 2) end
  end
  local histogram = new(Histogram, "histogram", name, help, labels, options)
  histogram.bounds, histogram.n_values = bounds, #bounds + 2
  return histogram
end

return M
