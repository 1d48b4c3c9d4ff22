--- Records that a plugin stored, brought to the version of their kind that the plugin has now: its numbered functions
-- run one after the other on the record as plain tables, when it is read. The store keeps the text as it was until the
-- record is changed, so a function that fails loses nothing.
--
-- A text says its version in a member of its own; without one it is of version 1.
local bounded = require "veloflux.plugin.bounded"
local json = require "veloflux.pdk.json"

local M = {}

local MEMBER = "$version"

--- Returns a text that says its version.
-- @param kind of plugin/control/kinds.lua
function M.mark(kind, text)
  if kind.version == 1 then return text end
  local rest = text:sub(2)
  return ('{"%s":%d%s%s'):format(MEMBER, kind.version, rest == "}" and "" or ",", rest)
end

local function plain_message(raised)
  return type(raised) == "string" and raised or "it raised what is no text"
end

--- Runs the functions that are missing to a record.
local function migrate(kind, record, from)
  for number = from + 1, kind.version do
    local step = kind.migrations[number]
    if step then
      local ok, changed = bounded.call(step, record)
      if not ok then return nil, ("migration %d failed: %s"):format(number, plain_message(changed)) end
      if changed == nil then changed = record end
      if type(changed) ~= "table" then
        return nil, ("migration %d: expected it to return the record, got a %s"):format(number, type(changed))
      end
      record = changed
    end
  end
  return record
end

--- Returns a text as the kind has it now, without its version; or nil and a message.
function M.apply(kind, text)
  local from = tonumber(text:match('^{"%' .. MEMBER .. '":(%d+)')) or 1
  if from == kind.version then return (text:gsub('^{"%' .. MEMBER .. '":%d+,?', "{")) end
  if from > kind.version then
    return nil, ("is of version %d of %s, the plugin %s knows up to %d"):format(from, kind.kind, kind.plugin,
      kind.version)
  end
  local record, message = json.decode(text)
  if not record then return nil, message end
  record[MEMBER] = nil
  record, message = migrate(kind, record, from)
  if not record then return nil, ("%s of the plugin %s: %s"):format(kind.kind, kind.plugin, message) end
  text, message = json.encode(record)
  if not text then return nil, ("%s of the plugin %s: %s"):format(kind.kind, kind.plugin, message) end
  return text
end

return M
