local TOKEN = "^[%w!#$%%&'*+.^_`|~-]+$"
local TYPES = { "string", "number", "boolean" }

local function check_header_name(name)
  if not name:find(TOKEN) then return nil, "expected the name of a header field" end
  return true
end

local function split(entry)
  local name, value = entry:match "^([^:]+):*(.-)$"
  if not name or not entry:find(":", 1, true) then return nil, "expected NAME:VALUE" end
  return name, value
end

local function check_header(entry)
  local name, value = split(entry)
  if not name then return nil, value end
  if value:find "[%z\1-\8\10-\31\127]" then return nil, "has characters that a header field cannot have" end
  return check_header_name(name)
end

local function check_new_header(entry)
  local name, new_name = split(entry)
  if not name then return nil, new_name end
  if not check_header_name(name) then return nil, "expected the name of a header field" end
  return check_header_name(new_name)
end

local function check_pair(entry)
  local name, problem = split(entry)
  if not name then return nil, problem end
  return true
end

local function check_new_name(entry)
  local name, new_name = split(entry)
  if not name or new_name == "" then return nil, "expected OLD:NEW" end
  return true
end

local function check_status(text)
  local low, high = text:match "^([1-5]%d%d)%-([1-5]%d%d)$"
  if text:find "^[1-5]%d%d$" or text:find "^[1-5]xx$" or low and low <= high then return true end
  return nil, "expected a status like 200, a class like 4xx or a range like 400-499"
end

local function list(check, description, more)
  local field = { type = "array", default = {}, description = description,
    elements = { type = "string", custom_validator = check } }
  for name, value in pairs(more or {}) do field[name] = value end
  return field
end

--- A value whose type is given has to be one of that type.
local function check_types(operation)
  for i, name in ipairs(operation.json_types) do
    local entry = operation.json[i]
    if not entry then return nil, "has more types than `json` has members", "json_types" end
    local _, value = split(entry)
    if name == "number" and not (tonumber(value) and value:find "^%-?%d") or
      name == "boolean" and value ~= "true" and value ~= "false" then
      return nil, ("%s is no %s"):format(value, name), "json"
    end
  end
  return true
end

local function operation(order, what, header_check, json_check, has_types)
  local fields = {
    headers = list(header_check, ("Header fields %s."):format(what), { order = 1 }),
    json = list(json_check, ("Members of a JSON object %s."):format(what), { order = 2 }),
    json_types = has_types and { type = "array", default = {}, order = 3,
      elements = { type = "string", one_of = TYPES },
      description = "The types of the values of `json`, one for each; texts where there is none." } or nil,
  }
  return { type = "record", required = true, order = order, fields = fields,
    custom_validator = has_types and check_types or nil }
end

return {
  remove = operation(1, "that are removed", check_header_name, nil),
  rename = operation(2, "that get another name, as OLD:NEW", check_new_header, check_new_name),
  replace = operation(3, "that get another value if they are there, as NAME:VALUE", check_header, check_pair, true),
  add = operation(4, "that are added unless they are there, as NAME:VALUE", check_header, check_pair, true),
  append = operation(5, "that are added in any case, as NAME:VALUE", check_header, check_pair, true),
  if_status = { type = "array", order = 6, len_min = 1,
    elements = { type = "string", custom_validator = check_status },
    description = "Answers with other statuses are left as they are: 200, 4xx, 500-503. All, if not given." },
}
