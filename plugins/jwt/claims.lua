--- What a token claims, against what a configuration wants (RFC 7519 section 4.1).
local json = require("veloflux.pdk").json

local M = {}

local MAX_TEXT_BYTES = 4096 -- of a header field

local function is_given(value) return value ~= nil and value ~= json.null end

--- Judges the times. `exp` and `nbf` count wherever they are given; those of `required` have to be.
---@param claims table
---@param required table<string, true>
---@param now number seconds since the epoch
---@param leeway number seconds by which clocks may differ
---@return table|nil errors claim -> what is wrong
function M.check_times(claims, required, now, leeway)
  local errors
  local exp, nbf, iat = claims.exp, claims.nbf, claims.iat
  if is_given(exp) or required.exp then
    if type(exp) ~= "number" then
      errors = { exp = "must be a number" }
    elseif exp <= now - leeway then
      errors = { exp = "token expired" }
    end
  end
  if is_given(nbf) or required.nbf then
    local problem = type(nbf) ~= "number" and "must be a number" or nbf > now + leeway and "token not valid yet"
    if problem then
      errors = errors or {}
      errors.nbf = problem
    end
  end
  if is_given(iat) and type(iat) ~= "number" then
    errors = errors or {}
    errors.iat = "must be a number"
  end
  return errors
end

--- Says whether a token is for one of `audiences`: its claim is a string or a list of them.
---@param claims table
---@param audiences table<string, true>
---@return boolean
function M.has_audience(claims, audiences)
  local value = claims.aud
  if type(value) ~= "table" then return audiences[value] == true end
  for i = 1, #value do
    if audiences[value[i]] then return true end
  end
  return false
end

--- Reads a claim that is a list of words: a list of strings, or a string with spaces between them.
---@param value any
---@return string[]
function M.words(value)
  local list = {}
  if type(value) == "string" then
    for word in value:gmatch "[^ ]+" do list[#list + 1] = word end
  elseif type(value) == "table" and json.is_array(value) then
    for _, word in ipairs(value) do
      if type(word) == "string" then list[#list + 1] = word end
    end
  end
  return list
end

--- Returns the scopes of a token as a set: of `scope` (RFC 8693 section 4.2) and of `scp`.
---@param claims table
---@return table<string, true>
function M.scopes(claims)
  local set = {}
  for _, name in ipairs { "scope", "scp" } do
    for _, word in ipairs(M.words(claims[name])) do set[word] = true end
  end
  return set
end

local function number_text(number)
  if number % 1 == 0 and math.abs(number) < 2 ^ 53 then return ("%.0f"):format(number) end
  return ("%.17g"):format(number)
end

local function scalar_text(value)
  if type(value) == "string" then return value end
  if type(value) == "number" then return number_text(value) end
  if type(value) == "boolean" then return tostring(value) end
end

-- A list of scalars without commas is written with commas between them, any other one as JSON.
local function list_text(list)
  local parts = {}
  for i, value in ipairs(list) do
    local text = scalar_text(value)
    if not text or text:find(",", 1, true) then return json.canonical(list) end
    parts[i] = text
  end
  return table.concat(parts, ",")
end

--- Writes a claim as the value of a header field.
---@param value any
---@return string|nil text nil when there is none, or it cannot stand there
function M.text(value)
  if not is_given(value) then return nil end
  local text = scalar_text(value) or json.is_array(value) and list_text(value) or json.canonical(value)
  if not text or #text > MAX_TEXT_BYTES or text:find "%c" or text:find "^ " or text:find " $" then return nil end
  return text
end

return M
