--- Replies of Redis as Lua values: strings, numbers, lists; `null` for nil; errors as objects.
local ffi = require "ffi"
require "veloflux.str"

ffi.cdef [[
struct vf_redis_node {
  int32_t type;
  uint32_t n;
  int64_t integer;
  struct vf_str text;
};
]]

local M = {}

--- Stands for nil, which lists cannot hold. Prints as "null" and is the same everywhere.
M.null = setmetatable({}, { __tostring = function() return "null" end, __metatable = false,
  __newindex = function() error("redis.null is not to be written to", 2) end })

local ReplyError = {}
ReplyError.__index = ReplyError
ReplyError.__metatable = "redis error"
ReplyError.__tostring = function(self) return self.err end

local STRING, ARRAY, INTEGER, STATUS, ERROR = 1, 2, 3, 5, 6 -- REDIS_REPLY_*; 4 is nil
local EXACT = 2 ^ 53

local function text_of(node) return node.text.len > 0 and ffi.string(node.text.data, node.text.len) or "" end

--- True for an error among the results of a pipeline: `err` is its text, `code` its first word ("WRONGTYPE").
---@param value any
---@return boolean
function M.is_error(value) return getmetatable(value) == ReplyError.__metatable end

function M.error(text) return setmetatable({ err = text, code = text:match "^%S*" }, ReplyError) end

-- Integers that a double cannot hold come as text, exactly.
local function integer(node)
  local value = tonumber(node.integer)
  if value > -EXACT and value < EXACT then return value end
  return (tostring(node.integer):gsub("LL$", ""))
end

--- Makes the value at `index` of the nodes. Returns it and the index behind it.
-- @param nodes const struct vf_redis_node *
function M.decode(nodes, index)
  local node = nodes[index]
  local kind = node.type
  if kind == STRING or kind == STATUS then return text_of(node), index + 1 end
  if kind == INTEGER then return integer(node), index + 1 end
  if kind == ERROR then return M.error(text_of(node)), index + 1 end
  if kind ~= ARRAY then return M.null, index + 1 end
  local list = {}
  local n = node.n
  index = index + 1
  for i = 1, n do list[i], index = M.decode(nodes, index) end
  return list, index
end

return M
