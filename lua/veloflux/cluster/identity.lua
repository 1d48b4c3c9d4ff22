--- Who this node is among others: the setting cluster.node_id, or the name of the machine with eight hexadecimal
-- digits, made once and kept in data_dir/node-id.
local crypto = require "veloflux.pdk.crypto"
local ffi = require "ffi"
local nodes = require "veloflux.pdk.node"

ffi.cdef "int vf_file_create(const char *path, const char *data, size_t len, uint32_t mode);"

local M = {}

local EEXIST, READABLE = -17, tonumber("644", 8)
local SUFFIX_BYTES = 4

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read "*l"
  if file then file:close() end
  return text and text:match "^[%w][%w._-]*$"
end

local function make(path)
  local host = nodes.get_hostname():gsub("[^%w._-]", "-"):gsub("^[^%w]+", "")
  local id = ("%s-%s"):format(host ~= "" and host or "node", crypto.hex_encode(crypto.random_bytes(SUFFIX_BYTES)))
  local rc = ffi.C.vf_file_create(path, id .. "\n", #id + 1, READABLE)
  if rc == 0 then return id end
  if rc == EEXIST then return read(path), path .. ": not the id of a node" end
  return nil, ("%s: cannot be created (error %d)"):format(path, -rc)
end

--- Returns the id of a node, or nil and a message.
-- @param node the settings of the node
function M.of(node)
  if node.cluster.node_id ~= "" then return node.cluster.node_id end
  local path = node.data_dir .. "/node-id"
  local id = read(path)
  if id then return id end
  return make(path)
end

return M
