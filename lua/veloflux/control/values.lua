--- Entities as JSON values: what a change makes of one, and what is different in another.
-- A value is what pdk.json decodes: null is json.null, arrays are marked.
local crypto = require "veloflux.pdk.crypto"
local expand = require "veloflux.model.expand"
local json = require "veloflux.pdk.json"

local M = {}

local MASK = "*****"

local function is_map(value) return type(value) == "table" and not json.is_array(value) and value[1] == nil end

--- Returns `value` with its texts as literals: what comes through the API is not expanded.
function M.literal(value)
  if type(value) == "string" then return expand.escape(value) end
  if type(value) ~= "table" then return value end
  local copy = json.is_array(value) and json.array {} or {}
  for key, inner in pairs(value) do copy[key] = M.literal(inner) end
  return copy
end

--- Applies a merge patch (RFC 7396).
-- @return the new value; the old one is left alone
function M.merge(value, patch)
  if not is_map(patch) then return patch end
  local result = {}
  if is_map(value) then
    for key, inner in pairs(value) do result[key] = inner end
  end
  for key, inner in pairs(patch) do
    if inner == json.null then
      result[key] = nil
    else
      result[key] = M.merge(result[key], inner)
    end
  end
  return result
end

--- Changes the fields that are present: null resets one to its default.
function M.put(value, fields)
  local result = {}
  for key, inner in pairs(value) do result[key] = inner end
  for key, inner in pairs(fields) do
    if inner == json.null then result[key] = nil else result[key] = inner end
  end
  return result
end

-- Differences ---------------------------------------------------------------------------------------

--- Secrets stand for themselves by their digest, so that they compare and do not show.
local function digest_secrets(value, unseal)
  if type(value) == "string" then
    local sealed = value:match "^{sealed:(%x+)}$"
    if not sealed then return value end
    return "{sealed:" .. crypto.hex_encode(crypto.hash("sha256", unseal(sealed) or sealed)) .. "}"
  end
  if type(value) ~= "table" then return value end
  local copy = json.is_array(value) and json.array {} or {}
  for key, inner in pairs(value) do copy[key] = digest_secrets(inner, unseal) end
  return copy
end

--- Returns a value without its secrets.
local function masked(value)
  if type(value) == "string" then return value:find "^{sealed:%x+}$" and MASK or value end
  if type(value) ~= "table" then return value end
  local copy = json.is_array(value) and json.array {} or {}
  for key, inner in pairs(value) do copy[key] = masked(inner) end
  return copy
end
M.masked = masked

local function escape(step) return (tostring(step):gsub("~", "~0"):gsub("/", "~1")) end

local compare

local function note(changes, pointer, before, after)
  changes[#changes + 1] = { pointer = pointer, before = before ~= nil and masked(before) or nil,
    after = after ~= nil and masked(after) or nil }
end

local function sorted_keys(a, b)
  local keys, seen = {}, {}
  for _, map in ipairs { a, b } do
    for key in pairs(map) do
      if not seen[key] then keys[#keys + 1] = key end
      seen[key] = true
    end
  end
  table.sort(keys)
  return keys
end

function compare(changes, pointer, before, after)
  if before == after then return end
  if before == nil or after == nil or type(before) ~= "table" or type(after) ~= "table" or
    is_map(before) ~= is_map(after) and next(before) ~= nil and next(after) ~= nil then
    return note(changes, pointer, before, after)
  end
  if is_map(before) and is_map(after) then
    for _, key in ipairs(sorted_keys(before, after)) do
      compare(changes, pointer .. "/" .. escape(key), before[key], after[key])
    end
    return
  end
  for i = 1, math.max(#before, #after) do
    compare(changes, pointer .. "/" .. (i - 1), before[i], after[i])
  end
end

--- Says what is different in two texts of an entity.
-- @param before, after canonical JSON text with sealed secrets; nil: there is none
-- @param unseal function(hexadecimal text) -> text or nil
-- @return a list of {pointer, before, after}: values without secrets; that of the whole has pointer ""
function M.diff(before, after, unseal)
  local changes = {}
  if before == after then return changes end
  compare(changes, "", before and digest_secrets(json.decode(before), unseal),
    after and digest_secrets(json.decode(after), unseal))
  return changes
end

return M
