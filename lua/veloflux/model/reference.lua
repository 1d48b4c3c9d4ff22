--- The reference page of a schema, as Markdown: a table for each record, below one another as they
-- stand inside each other. docs/configuration.md is made of it.
local suggest = require "veloflux.model.suggest"

local M = {}

local CONTAINERS = { list = true, array = true, set = true, map = true, record = true, shape = true,
  variant = true }

local function escape(text)
  return (text:gsub("|", "\\|"):gsub("<", "&lt;"):gsub("\n", " "))
end

local value_of -- below

local function shape_value(compiled)
  local parts = {}
  for _, form in ipairs { "scalar", "list", "map" } do
    if compiled.forms[form] then parts[#parts + 1] = value_of(compiled.forms[form]) end
  end
  return suggest.either(parts)
end

--- Says what may stand there.
function value_of(compiled)
  local attr = compiled.attr
  if attr.type == "record" or attr.type == "variant" then return "map, see below" end
  if attr.type == "map" then return "map of " .. value_of(compiled.value) end
  if attr.type == "shape" then return shape_value(compiled) end
  if compiled.element then return "list of: " .. value_of(compiled.element) end
  if attr.type == "unavailable" then return "not available in this version" end
  local text = (attr.expects or compiled.expected):gsub(" or a map$", ""):gsub("^true, false$", "true or false")
  return attr.unit and ("%s (%s)"):format(text, attr.unit) or text
end

local function description_of(attr)
  local text = attr.description or ""
  if not attr.deprecated then return text end
  local note = type(attr.deprecated) == "string" and "Deprecated: " .. attr.deprecated .. "." or "Deprecated."
  return text ~= "" and note .. " " .. text or note
end

local function default_text(attr)
  local default = attr.default_text
  if default == nil then default = attr.default end
  if default == nil then return attr.required and "required" or "" end
  if type(default) == "table" then return next(default) == nil and "" or "see below" end
  return default == "" and '`""`' or "`" .. tostring(default) .. "`"
end

--- Calls visit(compiled, path) for each record inside `compiled`, `path` being how one gets there.
local function each_record(compiled, path, visit)
  local type_name = compiled.attr.type
  if not CONTAINERS[type_name] then return end
  if type_name == "record" then return visit(compiled, path) end
  if type_name == "variant" then return visit(compiled.general, path) end
  if compiled.element then each_record(compiled.element, path .. "[]", visit) end
  if compiled.value then each_record(compiled.value, path .. ".NAME", visit) end
  for _, form in ipairs { "list", "map" } do
    local inner = compiled.forms and compiled.forms[form]
    if inner then each_record(inner, path, visit) end
  end
end

local function write_table(compiled, out)
  out "| key | value | default | |"
  out "|---|---|---|---|"
  for _, pair in ipairs(compiled.fields) do
    local name, field = pair[1], pair[2]
    if not field.attr.hidden then
      out(("| `%s` | %s | %s | %s |"):format(name, escape(value_of(field)), escape(default_text(field.attr)),
        escape(description_of(field.attr))))
    end
  end
end

--- Two records are the same to a reader when their tables are: only the first is written out.
local function write_record(compiled, path, out, seen)
  local lines = {}
  write_table(compiled, function(line) lines[#lines + 1] = line end)
  local text = table.concat(lines, "\n")
  if path ~= "" then out("### `" .. path .. "`\n") end
  if compiled.attr.description and path ~= "" then out(compiled.attr.description .. "\n") end
  if seen[text] then
    out(("As [`%s`](#%s).\n"):format(seen[text], (seen[text]:lower():gsub("[^%w_-]", ""))))
    return
  end
  seen[text] = path
  out(text .. "\n")
  for _, pair in ipairs(compiled.fields) do
    local inner = path ~= "" and path .. "." .. pair[1] or pair[1]
    each_record(pair[2], inner, function(record, where) write_record(record, where, out, seen) end)
  end
end

--- Returns the reference of a compiled record as Markdown.
function M.markdown(compiled)
  local lines = {}
  write_record(compiled, "", function(line) lines[#lines + 1] = line end, {})
  return table.concat(lines, "\n")
end

return M
