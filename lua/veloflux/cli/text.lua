--- Values for people and back: tables for a terminal, YAML, and files that are either YAML or JSON.
local bit = require "bit"
local document = require "veloflux.model.document"
local json = require "veloflux.pdk.json"
local sorted = require "veloflux.sorted"

local M = {}

-- Reading -------------------------------------------------------------------------------------------

local CONSTANTS = { ["true"] = true, ["false"] = false, null = json.null, ["~"] = json.null, [""] = json.null }

--- Reads a scalar as the core schema of YAML 1.2 does.
local function scalar(doc, index)
  local flags, text = doc.nodes[index].flags, document.text(doc, index)
  if bit.band(flags, document.NULL) ~= 0 then return json.null end
  if bit.band(flags, document.QUOTED) ~= 0 then return text end
  if CONSTANTS[text] ~= nil then return CONSTANTS[text] end
  if text:find "^[-+]?%d+$" or text:find "^[-+]?%d*%.?%d+[eE]?[-+]?%d*$" then return tonumber(text) or text end
  return text
end

local value_at

local function list_at(doc, index)
  local list, at = json.array(), doc.nodes[index].first
  while at ~= 0 do
    list[#list + 1] = value_at(doc, at)
    at = doc.nodes[at].next
  end
  return list
end

local function map_at(doc, index)
  local map, at = {}, doc.nodes[index].first
  while at ~= 0 do
    local value = doc.nodes[at].next
    map[document.text(doc, at)] = value_at(doc, value)
    at = doc.nodes[value].next
  end
  return map
end

function value_at(doc, index)
  local kind = doc.nodes[index].kind
  return kind == document.SCALAR and scalar(doc, index) or kind == document.LIST and list_at(doc, index)
    or kind == document.MAP and map_at(doc, index)
end

--- Reads a text of YAML or JSON.
-- @param name what messages call it
-- @return the value, or nil and a message
function M.parse(text, name)
  local doc, problem = document.parse(text, name)
  if not doc then return nil, ("%s:%d: %s"):format(problem.file, problem.line or 0, problem.message) end
  local is_scalar = doc.nodes[0].kind == document.SCALAR
  if is_scalar then return scalar(doc, 0) end
  return value_at(doc, 0)
end

-- YAML ----------------------------------------------------------------------------------------------

local WORDS = { yes = true, no = true, on = true, off = true, y = true, n = true, inf = true, nan = true }

--- Writes a scalar; a text that YAML could take for something else is quoted.
local function plain(value)
  if value == json.null then return "null" end
  if type(value) ~= "string" then return json.lenient(value) end
  local small = value:lower()
  local is_safe = value:find "^[%a/][%w/._-]*$" and CONSTANTS[small] == nil and not WORDS[small]
  return is_safe and value or json.lenient(value)
end

local function is_list(value) return json.is_array(value) or value[1] ~= nil end

local function put(out, value, indent, lead)
  local pad = (" "):rep(indent)
  if type(value) ~= "table" then
    out[#out + 1] = lead .. plain(value)
  elseif next(value) == nil then
    out[#out + 1] = lead .. (is_list(value) and "[]" or "{}")
  elseif is_list(value) then
    if lead:find "%S" then out[#out + 1] = (lead:gsub("%s+$", "")) end
    for _, item in ipairs(value) do put(out, item, indent + 2, pad .. "- ") end
  else
    local is_item = lead:find "%- $" ~= nil
    if not is_item and lead:find "%S" then out[#out + 1] = (lead:gsub("%s+$", "")) end
    for i, name in ipairs(sorted.names(value)) do
      local before = i == 1 and is_item and lead or pad
      local inner = value[name]
      local deeper = type(inner) == "table" and not is_list(inner) and 2 or 0
      put(out, inner, indent + deeper, before .. plain(name) .. ": ")
    end
  end
end

--- Writes a value as YAML, names in byte order.
-- @return list of lines
function M.yaml(value)
  local out = {}
  put(out, value, 0, "")
  return out
end

-- Tables --------------------------------------------------------------------------------------------

local function cell(value)
  if value == nil or value == json.null then return "-" end
  if type(value) == "boolean" then return value and "yes" or "no" end
  if type(value) == "string" then return (value:gsub("%c", " ")) end
  if type(value) ~= "table" then return json.lenient(value) end
  if not is_list(value) then return next(value) == nil and "-" or json.lenient(value) end
  local parts = {}
  for i, item in ipairs(value) do
    local name = type(item) == "table" and (item.name or item.address or item.id)
    parts[i] = type(item) == "table" and (name and tostring(name) or json.lenient(item)) or cell(item)
  end
  return #parts > 0 and table.concat(parts, ",") or "-"
end

local MAX_CELL = 48

local function width_of(text) return select(2, text:gsub("[^\128-\191]", "")) end

local function cut(text)
  if width_of(text) <= MAX_CELL then return text end
  return text:sub(1, MAX_CELL - 3):gsub("[\194-\244][\128-\191]*$", "") .. "..."
end

--- Writes rows as a table.
-- @param columns list of names: of the fields, and in capitals of the columns
-- @return list of lines
function M.table(columns, rows)
  local widths, texts = {}, {}
  for k, column in ipairs(columns) do widths[k] = #column end
  for i, row in ipairs(rows) do
    texts[i] = {}
    for k, column in ipairs(columns) do
      texts[i][k] = cut(cell(row[column]))
      widths[k] = math.max(widths[k], width_of(texts[i][k]))
    end
  end
  local function line(cells)
    local parts = {}
    for k, text in ipairs(cells) do parts[k] = text .. (" "):rep(widths[k] - width_of(text)) end
    return (table.concat(parts, "  "):gsub("%s+$", ""))
  end
  local head = {}
  for k, column in ipairs(columns) do head[k] = column:upper() end
  local lines = { line(head) }
  for i, cells in ipairs(texts) do lines[i + 1] = line(cells) end
  return lines
end

return M
