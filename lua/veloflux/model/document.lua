--- A text of YAML (or JSON) as nodes: what the readers of model/schema.lua walk.
-- The nodes live in C memory (src/lua/yaml.h) that goes with the document.
local ffi = require "ffi"

ffi.cdef [[
struct vf_yaml_node { uint32_t kind, flags, line, column, text, len, first, next; };
struct vf_yaml {
  struct vf_yaml_node *nodes;
  char *texts;
  uint32_t n_nodes, error_line, error_column;
  char error[256];
};
struct vf_yaml *vf_yaml_parse(const char *data, size_t len);
void vf_yaml_free(struct vf_yaml *yaml);
]]
local C = ffi.C

local M = {
  SCALAR = 0, LIST = 1, MAP = 2, -- enum vf_yaml_kind
  NULL = 1, QUOTED = 2, DOLLAR = 4, -- enum vf_yaml_flags
}

--- Parses `text`.
-- @param text the source
-- @param name what messages call it, usually the path of its file
-- @return a document {name, nodes, texts, yaml}: valid as long as it is referenced; or nil and a problem
-- {file, line, path, message}
function M.parse(text, name) return M.parse_bytes(text, #text, name) end

--- The same of `len` bytes at `data`.
function M.parse_bytes(data, len, name) return M.take(C.vf_yaml_parse(data, len), name) end

--- Takes what C has parsed.
-- @param pointer to struct vf_yaml, ours from here on; nil or NULL: there was no memory
function M.take(pointer, name)
  local yaml = ffi.cast("struct vf_yaml *", pointer)
  if yaml == nil then error("out of memory", 0) end
  yaml = ffi.gc(yaml, C.vf_yaml_free)
  if yaml.n_nodes == 0 then
    return nil, { file = name, line = yaml.error_line, path = "", message = ffi.string(yaml.error) }
  end
  return { name = name, nodes = yaml.nodes, texts = yaml.texts, yaml = yaml }
end

--- Returns the text of the scalar `index`, as written.
function M.text(document, index)
  local node = document.nodes[index]
  return ffi.string(document.texts + node.text, node.len)
end

--- Returns the index of the value of `key` in the map `index` and the index of the key; nil when it
-- is no map or has no such key.
function M.find(document, index, key)
  local nodes = document.nodes
  if nodes[index].kind ~= M.MAP then return nil end
  local at = nodes[index].first
  while at ~= 0 do
    local value = nodes[at].next
    if M.text(document, at) == key then return value, at end
    at = nodes[value].next
  end
end

return M
