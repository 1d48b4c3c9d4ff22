--- The part of /metrics that plugins count themselves (pdk/metrics.lua): sums over the logs of all processes.
local series = require "veloflux.series"

local M = {}

--- Names that alert rules use for what a plugin of ours counts.
local ESTABLISHED = {
  { name = "veloflux_rate_limit_hits_total", help = "Requests that the plugin rate-limiting has refused.",
    family = "veloflux_plugin_rate_limiting_requests_total", labels = '{verdict="refused"}' },
}

--- Says whether series of two families may be added up.
local function is_alike(a, b)
  local function list(values) return table.concat(values or {}, ",") end
  return a.kind == b.kind and a.combine == b.combine and list(a.labels) == list(b.labels) and
    list(a.bounds) == list(b.bounds)
end

--- Keeps a family: of those with the same name that are not alike the one that was used last counts.
local function keep(families, family)
  local known = families[family.name]
  if known and is_alike(known, family) then
    known.used_ns = math.max(known.used_ns, family.used_ns)
    return known
  end
  if known and known.used_ns > family.used_ns then return nil end
  family.series, family.order = {}, {}
  families[family.name] = family
  return family
end

local COMBINE = {
  sum = function(a, b) return a + b end,
  max = math.max,
  min = math.min,
}

local function add_gauge(family, sums, values)
  if values[1] == 0 then return end -- never set
  if not sums[1] then
    sums[1], sums[2] = values[0], values[1]
  elseif family.combine == "last" then
    if values[1] > sums[2] then sums[1], sums[2] = values[0], values[1] end
  else
    sums[1] = COMBINE[family.combine](sums[1], values[0])
  end
end

local function add_series(family, record, is_live)
  local is_gauge = family.kind == "gauge"
  if is_gauge and not is_live then return end
  local labels = series.text(record)
  local sums = family.series[labels]
  if not sums then
    sums = {}
    family.series[labels] = sums
    family.order[#family.order + 1] = labels
  end
  if is_gauge then return add_gauge(family, sums, record.values) end
  for i = 1, record.n_values do sums[i] = (sums[i] or 0) + record.values[i - 1] end
end

--- Reads one log into `families`, by name.
local function read(families, log, is_live)
  local by_number = {}
  for record in series.records(log) do
    if record.flags == series.FAMILY then
      local family = series.read_family(series.text(record))
      if family then
        family.used_ns = record.values[0]
        by_number[record.at] = keep(families, family)
      end
    else
      local family = by_number[record.family]
      if family and families[family.name] == family then add_series(family, record, is_live) end
    end
  end
end

local function show(exposition, family)
  local shown = exposition:family(family.name, family.kind, family.help)
  table.sort(family.order)
  for _, labels in ipairs(family.order) do
    local sums = family.series[labels]
    if family.kind == "histogram" then
      shown:add_histogram(labels, family.bounds, function(i) return sums[i] end, sums[#family.bounds + 2])
    elseif sums[1] then
      shown:add(labels, sums[1])
    end
  end
end

local function show_established(exposition, families)
  for _, known in ipairs(ESTABLISHED) do
    local family = families[known.family]
    local sums = family and family.series[known.labels] or {}
    exposition:family(known.name, "counter", known.help):add("", sums[1] or 0)
  end
end

--- Returns sums of counters.
-- @param state pointer to struct vf_state
-- @param wanted name of the sum -> {family, labels as /metrics writes them}
-- @return name of the sum -> number; 0 of what nothing has counted yet
function M.totals(state, wanted)
  local families, sums = {}, {}
  for log, is_live in series.logs(state) do read(families, log, is_live) end
  for name, which in pairs(wanted) do
    local family = families[which[1]]
    local found = family and family.series[which[2]]
    sums[name] = found and found[1] or 0
  end
  return sums
end

--- Adds the families, those whose names the node does not use itself.
-- @param exposition of prometheus.lua, which has everything else
-- @param state pointer to struct vf_state
function M.add(exposition, state)
  local families, names = {}, {}
  for log, is_live in series.logs(state) do read(families, log, is_live) end
  for name in pairs(families) do names[#names + 1] = name end
  table.sort(names)
  show_established(exposition, families)
  for _, name in ipairs(names) do
    if not exposition:has(name) then show(exposition, families[name]) end
  end
end

return M
