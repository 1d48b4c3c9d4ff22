--- Values that are data themselves: whatever JSON can say, kept as pdk.json decodes it. What YAML writes without
-- quotes is typed as its core schema says (1.2, section 10.3.2): null, true, 12, 1.5; all else is text.
local document = require "veloflux.model.document"
local expand = require "veloflux.model.expand"
local model_json = require "veloflux.model.json"
local json = require "veloflux.pdk.json"
local sorted = require "veloflux.sorted"

local band = require("bit").band
local put = model_json.put
local SCALAR, LIST = document.SCALAR, document.LIST

local M = {}

local WORDS = { ["true"] = true, True = true, TRUE = true, ["false"] = false, False = false, FALSE = false }

--- Returns what a scalar without quotes says.
local function typed(text)
  if WORDS[text] ~= nil then return WORDS[text] end
  if text:find "^[-+]?%d+$" or text:find "^[-+]?%d*%.?%d+[eE]?[-+]?%d*$" or text:find "^[-+]?%d+%.%d*$" then
    return tonumber((text:gsub("^%+", ""))) or text
  end
  return text
end

local read_value

local function read_list(where, index)
  local list, position, nodes = json.array {}, 0, where.nodes
  local at = nodes[index].first
  while at ~= 0 do
    where.path[where.depth] = position
    position = position + 1
    list[position] = read_value(where, at)
    at = nodes[at].next
  end
  return list
end

local function read_map(where, index)
  local map, nodes = {}, where.nodes
  local at = nodes[index].first
  while at ~= 0 do
    local value_at, key = nodes[at].next, document.text(where.document, at)
    where.path[where.depth] = key
    if map[key] ~= nil then
      where:fail(at, "duplicate key")
    else
      map[key] = read_value(where, value_at)
    end
    at = nodes[value_at].next
  end
  return map
end

function read_value(where, index)
  local node = where.nodes[index]
  if node.kind == SCALAR then
    if where:is_null(index) then return json.null end
    local text = where:text(index, "a text")
    if text == nil then return json.null end -- it has been said what is wrong
    return band(node.flags, document.QUOTED) ~= 0 and text or typed(text)
  end
  where.depth = where.depth + 1
  local value = node.kind == LIST and read_list(where, index) or node.kind ~= LIST and read_map(where, index)
  where.depth = where.depth - 1
  return value
end

local function put_value(out, value, text_of)
  if value == json.null then return put(out, "null") end
  if type(value) == "string" then return put(out, model_json.quote(text_of(value))) end
  if type(value) ~= "table" then return put(out, model_json.scalar(value)) end
  if json.is_array(value) then
    put(out, "[")
    for i = 1, #value do
      if i > 1 then put(out, ",") end
      put_value(out, value[i], text_of)
    end
    return put(out, "]")
  end
  put(out, "{")
  for i, key in ipairs(sorted.names(value)) do
    put(out, (i > 1 and "," or "") .. model_json.quote(key) .. ":")
    put_value(out, value[key], text_of)
  end
  put(out, "}")
end

local function itself(text) return text end

--- Makes the type; see model/schema.lua. `forms`: set of scalar, list and map, what it may be; all when left out.
function M.tree(attr)
  local allowed = attr.allows
  local function form_of(node) return node.kind == SCALAR and "scalar" or node.kind == LIST and "list" or "map" end
  local function read(where, index)
    if allowed and not allowed[form_of(where.nodes[index])] then
      return where:break_rule("type", index, "expected %s, got %s", attr.expects, where:describe(index))
    end
    return read_value(where, index)
  end
  return { read = read, encode = function(value, out) put_value(out, value, expand.escape) end,
    write = function(value, out) put_value(out, value, itself) end, expected = attr.expects or "a value",
    from_default = function(default) return default end }
end

return M
