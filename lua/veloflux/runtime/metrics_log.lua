--- What this process counts for plugins: its log of metrics in the state area (src/snapshot/series.h), which it finds
-- as the process before it has left it.
local ffi = require "ffi"
local area = require "veloflux.runtime.area"
local series = require "veloflux.series"

local C = ffi.C

local SEEN, SEEN_BYTES = "veloflux.series", 4 * 1024 * 1024

local M = {}

local log -- struct vf_series *
local families = {} -- text -> record
local by_family = {} -- `at` of a family -> labels -> struct double *
local record = ffi.new "struct vf_series_record"

local function note(found)
  local text = series.text(found)
  if found.flags == series.FAMILY then
    families[text] = { at = found.at, values = found.values }
  else
    by_family[found.family] = by_family[found.family] or {}
    by_family[found.family][text] = found.values
  end
end

local function open()
  local block, incarnation = area.block()
  log = C.vf_state_series(area.state(), block, nil)
  C.vf_series_begin(log, incarnation)
  for found in series.records(log) do note(found) end
end

local function add(flags, family, n_values, text)
  if C.vf_series_add(log, flags, family, n_values, text, #text, record) ~= 0 then return false end
  note(record)
  return true
end

--- Returns the number of a family in the log; nil when the log is full.
-- @param text of series.family_text
function M.family(text)
  if not log then open() end
  if not families[text] and not add(series.FAMILY, 0, 1, text) then return nil end
  families[text].values[0] = tonumber(C.vf_clock_ns())
  return families[text].at
end

--- Returns the numbers of a series, double *, if this process has it.
function M.find(family, labels) return by_family[family] and by_family[family][labels] end

--- Returns the numbers of a series, made if need be; nil when the log is full.
-- @param is_gauge they end with the process
function M.series(family, labels, n_values, is_gauge)
  local values = M.find(family, labels)
  if not values and add(is_gauge and series.GAUGE or 0, family, n_values, labels) then
    values = M.find(family, labels)
  end
  return values
end

-- Which series there are, over all processes ---------------------------------------------------------

local value, count, none = ffi.new "struct vf_dict_value", ffi.new "double[1]", ffi.new("double[1]", 0)
local HOW = C.VF_DICT_ADD + C.VF_DICT_SAFE

--- Says whether a metric may have another series: those that any process has are known to all.
-- @param name of the metric
-- @param labels
-- @param most how many there may be
function M.admit(name, labels, most)
  local dict = area.dict(SEEN, SEEN_BYTES)
  local key, now_ns = name .. labels, C.vf_clock_ns()
  if not dict then return false end
  value.type, value.integer = C.VF_DICT_BOOLEAN, 1
  local rc = C.vf_dict_set(dict, key, #key, value, 0, now_ns, HOW, nil)
  if rc == C.VF_DICT_PRESENT then return true end
  if rc ~= C.VF_DICT_OK then return false end
  if C.vf_dict_incr(dict, name, #name, 1, none, 0, now_ns, count) == C.VF_DICT_OK and count[0] <= most then
    return true
  end
  C.vf_dict_delete(dict, key, #key, now_ns)
  C.vf_dict_incr(dict, name, #name, -1, none, 0, now_ns, count)
  return false
end

return M
