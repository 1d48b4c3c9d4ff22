--- Which plugins control has: all that bring something for it, and the kinds of entities that they store.
local control = require "veloflux.plugin.control"
local kinds = require "veloflux.plugin.control.kinds"
local sources_of = require "veloflux.plugin.sources"

local M = {}

--- Finds the first line that says a text.
function M.line_said(text, what)
  local number = 0
  for line in (text .. "\n"):gmatch "(.-)\n" do
    number = number + 1
    if line:find(what, 1, true) then return number end
  end
end

--- Takes the kinds of a plugin, unless others have them.
local function take_kinds(loader, plugin, taken)
  local own = {}
  for _, kind in ipairs(plugin.control.kinds) do own[kind.kind] = true end
  for _, kind in ipairs(plugin.control.kinds) do
    local owner = taken(kind.kind) or loader.kinds[kind.kind] and "the plugin " .. loader.kinds[kind.kind].plugin
    local foreign
    for _, reference in ipairs(kind.references) do
      if not kinds.may_refer(reference.kind, own) then foreign = reference end
    end
    local function note(message)
      local source = plugin.sources.entities
      table.insert(loader.problems, { file = source.chunk, line = M.line_said(source.text, kind.kind), path = "",
        message = message, plugin = plugin.name })
    end
    if owner then
      note(("the kind %s is taken, by %s"):format(kind.kind, owner))
    elseif foreign then
      note(("%s.references.%s: there is no kind %s to refer to"):format(kind.kind, foreign.field, foreign.kind))
    else
      loader.kinds[kind.kind] = kind
      loader.kind_names[#loader.kind_names + 1] = kind.kind
    end
  end
end

--- Puts a plugin among those that control has.
local function take(loader, plugin, taken)
  if not plugin or not plugin.control then return end
  table.insert(loader.control, plugin)
  take_kinds(loader, plugin, taken)
end

local function without(list, is_gone)
  local kept = {}
  for _, value in ipairs(list) do
    if not is_gone(value) then kept[#kept + 1] = value end
  end
  return kept
end

--- A node that starts, or goes on after a fault, does without a plugin in control that is broken: perhaps somebody is
-- at work on it. What the binary has under its name takes its place. A conf that names it has its problems.
-- @param first the place of the first of its problems
-- @param load_own function(name, sources) -> a plugin
local function leave_out(loader, name, first, taken, load_own)
  local faults = {}
  for i = first, #loader.problems do
    local fault = loader.problems[i]
    faults[#faults + 1], loader.problems[i] = fault, nil
    table.insert(loader.warnings, { file = fault.file, line = fault.line, path = fault.path, plugin = name,
      code = "plugin_left_out", message = ("%s; the plugin %s is left out"):format(fault.message, name) })
  end
  loader.left_out[name] = faults
  loader.control = without(loader.control, function(plugin) return plugin.name == name end)
  loader.kind_names = without(loader.kind_names, function(kind) return loader.kinds[kind].plugin == name end)
  for kind, definition in pairs(loader.kinds) do
    if definition.plugin == name then loader.kinds[kind] = nil end
  end
  local own = sources_of.find({}, name)
  if own then take(loader, load_own(name, own), taken) end
end

--- Fills `control`, `kinds` and `kind_names` of a loader.
-- @param loader of plugin/loader.lua
-- @param taken function(kind) -> who has a kind of this name already, or nil
-- @param load_own function(name, sources) -> a plugin
function M.run(loader, taken, load_own)
  for _, name in ipairs(sources_of.names(loader.paths, control.FILES)) do
    local first = #loader.problems + 1
    take(loader, loader:find(name), taken)
    if loader.is_forgiving and loader.problems[first] then leave_out(loader, name, first, taken, load_own) end
  end
end

return M
