--- What cannot be seen in one node setting alone: addresses that collide, accounts that do not exist,
-- an admin address open to everybody.
local ffi = require "ffi"
local address = require "veloflux.model.address"

ffi.cdef [[
int vf_host_user(const char *name, uint32_t *uid, uint32_t *gid);
int vf_host_group(const char *name, uint32_t *gid);
]]
local C = ffi.C

local M = {}

--- Two sockets collide on the same port when the addresses are equal or one of them is every address.
local function collide(a, b)
  if a.port ~= b.port or a.port == 0 then return false end
  if a.family ~= b.family then return a.family == address.IPV6 and address.is_any(a)
    or b.family == address.IPV6 and address.is_any(b) end -- [::] takes IPv4 too
  return a.ip == b.ip or address.is_any(a) or address.is_any(b)
end

local function check_names(listeners, note)
  local seen = {}
  for i, listener in ipairs(listeners) do
    local name = listener.name
    if name and seen[name] then
      note({ "listeners", i, "name" }, ("the name %s is already taken, on line %d"):format(name, seen[name]._line))
    elseif name then
      seen[name] = listener
    end
  end
end

local function check_addresses(node, note)
  local taken = {}
  local function take(listen, path, label)
    if type(listen) ~= "table" then return end
    for _, other in ipairs(taken) do
      if collide(listen, other.listen) then
        note(path, ("%s collides with %s of %s"):format(listen.text, other.listen.text, other.label))
        return
      end
    end
    taken[#taken + 1] = { listen = listen, label = label }
  end
  for i, listener in ipairs(node.listeners) do
    take(listener.address, { "listeners", i, "address" }, ("listeners[%d]"):format(i - 1))
  end
  take(node.admin.address, { "admin", "address" }, "admin")
end

local function check_admin(admin, note)
  local listen = admin.address
  if type(listen) ~= "table" or admin.insecure or address.is_loopback(listen) then return end
  if not admin.auth.enabled then
    note({ "admin", "auth", "enabled" },
      ("authentication is off although other machines reach %s: turn it on, or allow that with admin.insecure: true")
        :format(listen.text))
  elseif admin.websocket.anonymous then
    note({ "admin", "websocket", "anonymous" },
      ("everybody who reaches %s could follow the channels: allow that with admin.insecure: true"):format(listen.text))
  end
end

--- Of a lease that is lost with one heartbeat nobody is sure.
local function check_cluster(cluster, note)
  if cluster.lease >= 2 * cluster.heartbeat then return end
  note({ "cluster", "lease" }, "has to be at least two heartbeats long")
end

local ids = ffi.new "uint32_t[2]"

--- Looks up the user and group that the processes run as.
-- @return {uid, gid}, or nil when none is set; or nil, the field and a message
function M.account(node)
  if node.user == "" then
    if node.group ~= "" then return nil, "group", "has no meaning without user" end
    return nil
  end
  if C.vf_host_user(node.user, ids, ids + 1) ~= 0 then
    return nil, "user", ('unknown user "%s"'):format(node.user)
  end
  if node.group ~= "" and C.vf_host_group(node.group, ids + 1) ~= 0 then
    return nil, "group", ('unknown group "%s"'):format(node.group)
  end
  return { uid = ids[0], gid = ids[1] }
end

--- Checks the node settings.
-- @param note function(path, message): path is a list of keys and positions (from 1)
function M.run(node, note)
  check_names(node.listeners, note)
  check_addresses(node, note)
  check_admin(node.admin, note)
  check_cluster(node.cluster, note)
  local _, field, message = M.account(node)
  if field then note({ field }, message) end
end

return M
