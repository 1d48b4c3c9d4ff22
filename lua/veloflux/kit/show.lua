--- Values as people read them, and where two of them differ.
local M = {}

local MOST_DIFFERENCES, MAX_DEPTH, MAX_TEXT = 12, 8, 2000

--- Numbers before texts before the rest, each in order.
local function before(a, b)
  if type(a) == type(b) and (type(a) == "number" or type(a) == "string") then return a < b end
  if type(a) ~= type(b) then return type(a) < type(b) end
  return tostring(a) < tostring(b)
end

local function sorted_keys(...)
  local keys, seen = {}, {}
  for _, map in ipairs { ... } do
    for key in pairs(map) do
      if not seen[key] then seen[key], keys[#keys + 1] = true, key end
    end
  end
  table.sort(keys, before)
  return keys
end

local function key_text(key)
  if type(key) == "string" and key:find "^[%a_][%w_]*$" then return key end
  return "[" .. (type(key) == "string" and ("%q"):format(key) or tostring(key)) .. "]"
end

local function quoted(text)
  local shown = ("%q"):format(#text > MAX_TEXT and text:sub(1, MAX_TEXT) or text):gsub("\\\n", "\\n"):gsub("\r", "\\r")
  return #text > MAX_TEXT and ("%s... (%d bytes)"):format(shown, #text) or shown
end

local function render(value, indent, depth, seen)
  if type(value) == "string" then return quoted(value) end
  if type(value) ~= "table" then return tostring(value) end
  if seen[value] then return "<cycle>" end
  if depth > MAX_DEPTH then return "{...}" end
  if next(value) == nil then return "{}" end
  seen[value] = true
  local lines, inner, length = {}, indent .. "  ", #value
  for _, key in ipairs(sorted_keys(value)) do
    local is_item = type(key) == "number" and key >= 1 and key <= length
    local text = render(value[key], inner, depth + 1, seen)
    lines[#lines + 1] = is_item and text or key_text(key) .. " = " .. text
  end
  seen[value] = nil
  local flat = "{ " .. table.concat(lines, ", ") .. " }"
  if #flat + #indent <= 100 and not flat:find "\n" then return flat end
  return "{\n" .. inner .. table.concat(lines, ",\n" .. inner) .. "\n" .. indent .. "}"
end

--- Writes a value.
function M.value(value) return render(value, "", 0, {}) end

local function describe(value) return value == nil and "nothing" or M.value(value) end

local function compare(expected, got, path, list, seen)
  if #list > MOST_DIFFERENCES or expected == got then return end
  if type(expected) ~= "table" or type(got) ~= "table" then
    if expected ~= expected and got ~= got then return end
    list[#list + 1] = { path = path, expected = expected, got = got }
    return
  end
  if seen[expected] == got then return end
  seen[expected] = got
  for _, key in ipairs(sorted_keys(expected, got)) do
    local step = key_text(key)
    compare(expected[key], got[key], step:sub(1, 1) == "[" and path .. step or path .. "." .. step, list, seen)
  end
end

--- Compares two values, tables by what is in them.
-- @return list of {path, expected, got}, empty when they are the same
function M.differences(expected, got)
  local list = {}
  compare(expected, got, "", list, {})
  return list
end

local function same_start(a, b)
  local n = 0
  while n < #a and a:byte(n + 1) == b:byte(n + 1) do n = n + 1 end
  return n
end

--- Says where two values differ, in lines.
function M.difference(expected, got)
  local differences = M.differences(expected, got)
  local lines = {}
  if type(expected) == "string" and type(got) == "string" and math.max(#expected, #got) > 40 then
    local at = same_start(expected, got)
    local from = math.max(1, at - 20)
    return ("the texts differ from byte %d on\nexpected  ...%s\ngot       ...%s"):format(at + 1,
      quoted(expected:sub(from, from + 80)), quoted(got:sub(from, from + 80)))
  end
  for i, difference in ipairs(differences) do
    if i > MOST_DIFFERENCES then
      lines[#lines + 1] = "... and more"
      break
    end
    local place = difference.path ~= "" and "at " .. difference.path:gsub("^%.", "") .. "\n  " or ""
    local gap = place ~= "" and "\n  " or "\n"
    lines[#lines + 1] = ("%sexpected  %s%sgot       %s"):format(place, describe(difference.expected), gap,
      describe(difference.got))
  end
  return table.concat(lines, "\n")
end

return M
