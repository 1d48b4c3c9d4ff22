--- Who this node is: a UUID, made once and kept in data_dir/node-uuid; and its name among others: the setting
-- cluster.node_id, or the name of the machine with the first eight digits of the UUID, kept as data_dir/node-id.
local ffi = require "ffi"
local nodes = require "veloflux.pdk.node"
local uuids = require "veloflux.node_uuid"

ffi.cdef "int vf_file_create(const char *path, const char *data, size_t len, uint32_t mode);"

local M = {}

local EEXIST, READABLE = -17, tonumber("644", 8)
local ID, UUID = "/node-id", "/node-uuid"

local function line_of(path)
  local file = io.open(path, "rb")
  local text = file and file:read "*l"
  if file then file:close() end
  return text
end

local function is_id(text) return text ~= nil and text:find "^[%w][%w._-]*$" ~= nil end

--- Reads what a file keeps, or lets it keep what `make` returns.
-- @return the text, or nil and a message
local function keep(path, is_valid, make, what)
  local text = line_of(path)
  if text and is_valid(text) then return text end
  local made = make()
  local rc = ffi.C.vf_file_create(path, made .. "\n", #made + 1, READABLE)
  if rc == 0 then return made end
  if rc ~= EEXIST then return nil, ("%s: cannot be created (error %d)"):format(path, -rc) end
  text = line_of(path)
  if text and is_valid(text) then return text end
  return nil, ("%s: not the %s of a node"):format(path, what)
end

--- Returns the UUID of a node, or nil and a message.
-- @param node the settings of the node
function M.uuid(node) return keep(node.data_dir .. UUID, uuids.is_valid, uuids.make, "UUID") end

--- Returns the id of a node, or nil and a message.
-- @param node the settings of the node
function M.of(node)
  if node.cluster.node_id ~= "" then return node.cluster.node_id end
  local text = line_of(node.data_dir .. ID)
  if is_id(text) then return text end
  local uuid, message = M.uuid(node)
  if not uuid then return nil, message end
  local host = nodes.get_hostname():gsub("[^%w._-]", "-"):gsub("^[^%w]+", "")
  return keep(node.data_dir .. ID, is_id, function()
    return ("%s-%s"):format(host ~= "" and host or "node", uuid:sub(1, 8))
  end, "id")
end

return M
