--- The metrics of a gateway under test: the text that GET /metrics answers, and single values of it.
local exposition = require "veloflux.admin.metrics"
local native = require "veloflux.kit.native"
local totals = require "veloflux.totals"

local C = native.C

local M = {}

local Metrics = {}
Metrics.__index = Metrics

local function labels_of(text)
  local labels = {}
  for name, value in text:gmatch '([%w_]+)="(.-)"' do labels[name] = value end
  return labels
end

local function matches(labels, wanted)
  for name, value in pairs(wanted or {}) do
    if labels[name] ~= tostring(value) then return false end
  end
  return true
end

--- Returns the sum of all values of `name` that have these labels; nil when there is none.
-- @param wanted map from label to value, or nil
function Metrics:value(name, wanted)
  local sum
  for _, sample in ipairs(self.samples) do
    if sample.name == name and matches(sample.labels, wanted) then sum = (sum or 0) + sample.value end
  end
  return sum
end

local function parse(text)
  local samples = {}
  for line in text:gmatch "[^\n]+" do
    local name, labels, value = line:match "^([%w_:]+)(%b{}) (%S+)$"
    if not name then name, value = line:match "^([%w_:]+) (%S+)$" end
    if name then
      samples[#samples + 1] = { name = name, labels = labels_of(labels or ""), value = tonumber(value) or 0 }
    end
  end
  return samples
end

--- Reads the metrics.
-- @param kit struct vf_kit *
-- @return {text, samples = list of {name, labels, value}}
function M.read(kit)
  totals.open(C.vf_kit_state(kit), C.vf_kit_snapshot(kit), nil)
  local text = exposition.text "kit"
  return setmetatable({ text = text, samples = parse(text) }, Metrics)
end

return M
