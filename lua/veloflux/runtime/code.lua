--- The code of plugins in this process: loaded from a snapshot, kept by its hash while a snapshot or a
-- chain uses it.
local layout = require "veloflux.compiler.layout"
local sandbox = require "veloflux.plugin.sandbox"
local provide = require "veloflux.plugin.provide"
local snapshot = require "veloflux.runtime.snapshot"

local C = layout.C

local M = {}

local loaded = {} -- hash -> {name, handler, hash, slot, sandbox, is_new}

local function sources_of(header, record)
  local files = snapshot.section(header, C.VF_SNAP_PLUGIN_FILES)
  local sources = {}
  for i = record.files.first, record.files.first + record.files.count - 1 do
    local file = files[i]
    sources[snapshot.text(header, file.name)] = { text = snapshot.text(header, file.source),
      chunk = snapshot.text(header, file.chunk) }
  end
  return sources
end

local function load(header, record, key)
  local name = snapshot.text(header, record.name)
  local box = sandbox.new { name = name, sources = sources_of(header, record), provide = provide.module }
  local ok, handler = pcall(box.run, box, "handler")
  if not ok then return nil, ("plugin %s: %s"):format(name, tostring(handler)) end
  if type(handler) ~= "table" then return nil, ("plugin %s: handler.lua does not return a table"):format(name) end
  return { name = name, handler = handler, key = key, slot = record.slot, box = box, is_new = true }
end

--- Loads the plugins of a snapshot that are not loaded yet.
-- @return a message when one cannot be loaded; nil when all went well
function M.prepare(header)
  local records, count = snapshot.section(header, C.VF_SNAP_PLUGINS)
  for i = 0, count - 1 do
    local key = snapshot.key(records[i].hash)
    if not loaded[key] and records[i].files.count > 0 then
      local code, problem = load(header, records[i], key)
      if not code then return problem end
      loaded[key] = code
    end
  end
end

--- Returns the code of the plugin at an index of the snapshot: {name, handler, key, slot, box, is_new}.
function M.at(header, index)
  local records = snapshot.section(header, C.VF_SNAP_PLUGINS)
  return loaded[snapshot.key(records[index].hash)]
end

--- A snapshot is published: forgets what it does not use (chains under way hold theirs). Returns the list
-- of its plugins.
function M.publish(header)
  local records, count = snapshot.section(header, C.VF_SNAP_PLUGINS)
  local kept, list = {}, {}
  for i = 0, count - 1 do
    local key = snapshot.key(records[i].hash)
    local code = loaded[key]
    if code then -- those without files run in control
      code.slot = records[i].slot
      kept[key], list[#list + 1] = code, code
    end
  end
  loaded = kept
  return list
end

return M
