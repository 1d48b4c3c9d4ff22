--- The scalar types of the schema: how a text becomes a value, and a value a text again.
-- A type is a function from attributes to {expected, parse, format}:
--   expected  what a message says was expected
--   parse     function(text, reader) -> value, or nil and optionally a message of its own
--   format    function(value) -> number, boolean or string for JSON, as a conf file would have it
--   plain     the same for those who use the value (schema.write), where that differs: may be a table
local duration = require "veloflux.model.duration"
local size = require "veloflux.model.size"
local address = require "veloflux.model.address"
local suggest = require "veloflux.model.suggest"
local reader = require "veloflux.model.reader"

local M = {}

local function same(value) return value end

local function bounds(attr, parse)
  local low, high = attr.min, attr.max
  if attr.between then low, high = attr.between[1], attr.between[2] end
  if attr.gt then low = attr.gt end
  local function number(bound) return type(bound) == "string" and parse(bound) or bound end
  return number(low), number(high), low, high
end

--- Says what is wanted: "an integer between 1 and 64 or auto".
local function wanted(attr, noun, low, high)
  local words = {}
  for _, word in ipairs(attr.words or {}) do words[#words + 1] = word end
  if attr.off then words[#words + 1] = "off" end
  if attr.gt and low then
    noun = ("%s above %s"):format(noun, low)
  elseif low and high then
    noun = ("%s between %s and %s"):format(noun, low, high)
  elseif low then
    noun = ("%s of at least %s"):format(noun, low)
  elseif high then
    noun = ("%s of at most %s"):format(noun, high)
  end
  return #words > 0 and noun .. " or " .. suggest.either(words) or noun
end

--- Adds bounds to what `parse` reads; texts of bounds ("1ms") are read by `parse` too. What cannot be
-- read is answered with an example, what is out of bounds with the bounds.
local function bounded(attr, noun, example, parse, format)
  local low, high, low_text, high_text = bounds(attr, parse)
  local expected, unreadable = wanted(attr, noun, low_text, high_text), wanted(attr, example or noun)
  local above = attr.gt
  if not example then unreadable = expected end
  local function parse_bounded(text)
    if attr.off and text == "off" then return math.huge end
    local value = parse(text)
    if value == nil then return nil, ("expected %s, got %s"):format(unreadable, reader.quote(text)), "type" end
    if low and (value < low or above and value == low) or high and value > high then
      local rule = attr.between and "between" or high and value > high and "max" or above and "gt" or "min"
      return nil, ("expected %s, got %s"):format(expected, text), rule
    end
    return value
  end
  return { expected = expected, parse = parse_bounded, format = format }
end

local function parse_integer(text)
  local value
  if text:find "^[-+]?%d+$" then
    value = tonumber((text:gsub("^%+", "")))
  elseif text:find "^0x%x+$" then
    value = tonumber(text)
  elseif text:find "^0o[0-7]+$" then
    value = tonumber(text:sub(3), 8)
  end
  return value and math.abs(value) < 2 ^ 53 and value or nil
end

local function parse_number(text)
  if not text:find "^[-+]?%.?%d" or text:find "[xXpP]" then return nil end
  local value = tonumber((text:gsub("^%+", "")))
  return value and value == value and math.abs(value) ~= math.huge and value or nil
end

local TRUTHS = { ["true"] = true, True = true, TRUE = true, ["false"] = false, False = false, FALSE = false }

function M.integer(attr)
  return bounded(attr, "an integer", nil, parse_integer, function(value)
    return value == math.huge and "off" or value
  end)
end

function M.number(attr)
  return bounded(attr, "a number", nil, parse_number, same)
end

function M.duration(attr)
  return bounded(attr, "a duration", "a duration like 10s", duration.parse, duration.format)
end

function M.size(attr)
  return bounded(attr, "a size", "a size like 32k", size.parse, size.format)
end

function M.boolean(attr)
  local function parse(text)
    if attr.off and text == "off" then return false end
    return TRUTHS[text]
  end
  return { expected = "true or false", parse = parse, format = same }
end

local function text_length(attr)
  local low, high = attr.len_min or 0, attr.len_max
  if low > 0 and high then return ("a text of %d to %d bytes"):format(low, high) end
  if high then return ("a text of at most %d bytes"):format(high) end
  return low > 1 and ("a text of at least %d bytes"):format(low) or "a text"
end

--- A number where a text is all digits: `numeric` texts such as a status, which may be "200-299" as well.
local function digits_as_number(text) return text:find "^%d+$" and tonumber(text) or text end

function M.string(attr)
  local low, high, match = attr.len_min or 0, attr.len_max or math.huge, attr.match
  local function parse(text)
    if #text < low then return nil, nil, "len_min" end
    if #text > high then return nil, nil, "len_max" end
    if match and not text:find(match) then
      return nil, ("expected %s, got %s"):format(attr.expects or ("a text that matches %s"):format(match),
        reader.quote(text)), "match"
    end
    return text
  end
  return { expected = text_length(attr), parse = parse, format = attr.numeric and digits_as_number or same }
end

--- A name out of `one_of`.
function M.enum(attr)
  local known = {}
  for _, word in ipairs(attr.one_of) do known[word] = true end
  local expected = attr.expects or (#attr.one_of > 1 and "one of " or "") .. suggest.either(attr.one_of)
  local function parse(text)
    if known[text] then return text end
    local nearest = suggest.nearest(text, attr.one_of)
    return nil, ("expected %s, got %s%s"):format(expected, reader.quote(text),
      nearest and (", did you mean %s?"):format(nearest) or ""), "one_of"
  end
  return { expected = expected, parse = parse, format = same }
end

--- The name of another entity, of the kind `reference`; whether it exists is seen later.
function M.foreign(attr)
  local function parse(text) return text ~= "" and text or nil end
  return { expected = ("the name of one of the %s"):format(attr.reference), parse = parse, format = same }
end

--- HOST:PORT as {text, host, port, family, ip}; `listen = true` wants an IP address or none, and
-- allows port 0; `words` such as "off" stay what they are.
function M.address(attr)
  local expected = attr.listen and "an address like 127.0.0.1:8000, [::1]:8000 or :8000"
    or "an address like 10.0.0.1:8080, [fd00::1]:8080 or app.internal:8080"
  if attr.words then expected = expected .. ", or " .. suggest.either(attr.words) end
  return {
    expected = expected,
    parse = function(text) return address.parse(text, attr.listen) end,
    format = function(value) return type(value) == "table" and value.text or value end,
    plain = function(value)
      if type(value) ~= "table" then return value end
      return { host = value.host, port = value.port, text = value.text }
    end,
  }
end

--- A network as {text, family, ip, bits}: 10.0.0.0/8, 2001:db8::/32, or one address. With `exact` the address has to be
-- the first of the network.
function M.network(attr)
  return {
    expected = "a network like 10.0.0.0/8 or 2001:db8::/32",
    parse = function(text) return address.parse_network(text, attr.exact) end,
    format = function(value) return value.text end,
    plain = function(value) return value.text end,
  }
end

--- A path of the file system, made absolute; relative ones are relative to the file that says so.
function M.path(attr)
  local keep = {}
  for _, word in ipairs(attr.words or {}) do keep[word] = true end
  local function parse(text, where)
    if text == "" then return attr.len_min and nil or "" end
    if text:find "%z" then return nil end
    if text:sub(1, 1) == "/" or keep[text] then return text end
    return M.join(where.dir, text)
  end
  local expected = attr.words and "a path, or " .. suggest.either(attr.words) or "a path"
  return { expected = expected, parse = parse, format = same }
end

--- PEM text; what stands for it is read in model/pem.lua.
function M.pem()
  return { expected = "a file, or PEM text", parse = same, format = same }
end

--- Returns `path` below the folder `dir`, without "." and ".." segments.
function M.join(dir, path)
  local parts = {}
  for part in (dir .. "/" .. path):gmatch "[^/]+" do
    if part == ".." then
      parts[#parts] = nil
    elseif part ~= "." then
      parts[#parts + 1] = part
    end
  end
  return "/" .. table.concat(parts, "/")
end

return M
