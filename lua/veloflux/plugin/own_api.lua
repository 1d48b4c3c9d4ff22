--- The plugin API as one plugin has it: groups in tables of its own, so that what the plugin changes in them is
-- nobody else's business. The functions are everybody's.
local pdk = require "veloflux.pdk"

local M = {}

--- Tables of functions within groups.
local PARTS = { service = { "request", "response" }, client = { "tls" }, log = { "inspect", "deprecation" } }

--- What the runtime calls, and plugins do not.
local PRIVATE = { queue = { "pending", "drain", "report_left" } }

local function plain_copy(map)
  local own = {}
  for name, value in pairs(map) do own[name] = value end
  return own
end

local function copy(group)
  return setmetatable(plain_copy(group), plain_copy(debug.getmetatable(group) or {}))
end

--- Returns a group, or nil when there is none of this name.
function M.group(name)
  local group = pdk[name]
  if type(group) ~= "table" then return nil end
  local own = copy(group)
  for _, part in ipairs(PARTS[name] or {}) do own[part] = copy(group[part]) end
  for _, private in ipairs(PRIVATE[name] or {}) do own[private] = nil end
  return own
end

--- Returns the whole API; groups are made on first use.
function M.new()
  return setmetatable({ version = pdk.version, version_num = pdk.version_num }, { __metatable = false,
    __index = function(self, name)
      local group = M.group(name)
      rawset(self, name, group)
      return group
    end })
end

return M
