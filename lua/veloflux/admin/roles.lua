--- What a role may do: `admin` everything, `user` read what shows how the node serves. Endpoints say in `permission`
-- what they need: a role, or what they are about and how, such as pools:read.
local M = {}

M.NAMES = { "admin", "user" }

local OF_USER = { "pools", "backends", "routes", "consumers", "plugins", "certificates", "tenants", "listeners",
  "metrics", "status", "schemas", "config" }

local user = { user = true }
for _, subject in ipairs(OF_USER) do user[subject .. ":read"] = true end

local CAN = {
  admin = function() return true end,
  user = function(permission) return user[permission] == true end,
}

--- Returns a function(permission) -> whether a role has it.
function M.can(role) return CAN[role] or function() return false end end

return M
