--- The reference page of a plugin, as Markdown, from its schema.
local reference = require "veloflux.model.reference"

local M = {}

local SCOPES = { { "global" }, { "tenant" }, { "pool", "service" }, { "route", "route" }, { "consumer", "consumer" } }

--- Says where an instance may stand.
local function scopes_of(plugin)
  local names = {}
  for _, scope in ipairs(SCOPES) do
    if not plugin.refuses[scope[2] or ""] then names[#names + 1] = scope[1] end
  end
  return table.concat(names, ", ")
end

local function merge_lines(plugin, out)
  local names = {}
  for name in pairs(plugin.merge) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    out(("`%s` is combined with that of wider scopes (%s).\n"):format(name, plugin.merge[name]))
  end
end

--- Returns the page.
-- @param plugin of plugin/loader.lua
function M.markdown(plugin)
  local lines = {}
  local function out(line) lines[#lines + 1] = line end
  out(("# %s\n"):format(plugin.name))
  out "| | |\n|---|---|"
  if plugin.version then out(("| version | %s |"):format(plugin.version)) end
  out(("| priority | %d |"):format(plugin.priority))
  out(("| phases | %s |"):format(table.concat(plugin.phases, ", ")))
  out(("| scopes | %s |\n"):format(scopes_of(plugin)))
  out "## Configuration\n"
  if #plugin.compiled.fields == 0 then out "There is nothing to configure.\n" else
    out(reference.markdown(plugin.compiled))
  end
  merge_lines(plugin, out)
  if plugin.credential then
    out(("## Credentials of the type `%s`\n"):format(plugin.name))
    out(reference.markdown(plugin.credential.compiled))
    out(("A credential is found by `%s`%s.\n"):format(plugin.credential.id,
      plugin.credential.hashed and ", of which only the SHA-256 is kept" or ""))
  end
  return (table.concat(lines, "\n"):gsub("\n+$", "\n"))
end

return M
