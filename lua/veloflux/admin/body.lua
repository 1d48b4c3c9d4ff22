--- Bodies of requests to the admin API: JSON of the right media type, an object, not too deep; names that occur
-- twice and bytes that are no UTF-8 are refused by the decoder. And what the client takes in return.
local json = require "veloflux.pdk.json"
local slices = require "veloflux.slices"
local spools = require "veloflux.spool"
local problem = require "veloflux.admin.problem"

local M = {}

M.JSON, M.MERGE_PATCH = "application/json", "application/merge-patch+json"
local LONG = 64 * 1024 -- bytes that are not decoded in one go
M.MAX_DEPTH = 32 -- the deepest object of the model has fewer than ten levels

--- Returns the media type of a field value, in small letters, without its parameters.
local function media_type(field) return ((field or ""):match "^%s*([^;%s]+)" or ""):lower() end

--- Reads a body.
-- @param request of the router
-- @param wanted the media type it has to be; a merge patch may say that it is JSON, too
-- @param is_optional true: an empty body is an empty object
-- @return decoded JSON, or nil and a problem
function M.read(request, wanted, is_optional)
  if request.body == "" and is_optional and not request.spool then return {} end
  local kind = media_type(request.headers["content-type"])
  if kind ~= wanted and not (wanted == M.MERGE_PATCH and kind == M.JSON) then
    local accept = wanted == M.MERGE_PATCH and "Accept-Patch" or "Accept-Post"
    return nil, problem.new("unsupported_media_type", ("The body has to be %s."):format(wanted),
      { headers = { accept, wanted } })
  end
  if (request.headers["content-encoding"] or "identity"):lower() ~= "identity" then
    return nil, problem.new("unsupported_media_type", "The body has to be without a Content-Encoding.",
      { headers = { "Accept-Encoding", "identity" } })
  end
  return M.decode(M.bytes(request))
end

--- Decodes a text that has to be an object of JSON. Returns it, or nil and a problem.
function M.decode(text)
  local value, err = json.decode(text, { max_depth = M.MAX_DEPTH, pause = #text > LONG and slices.look or nil })
  if value == nil then
    return nil, problem.new("invalid", "The body is " .. err .. ".", { errors = { { pointer = "", detail = err } } })
  end
  if type(value) ~= "table" or json.is_array(value) then
    return nil, problem.new("invalid", "The body has to be an object.",
      { errors = { { pointer = "", detail = "expected an object" } } })
  end
  return value
end

local function escape(name) return (tostring(name):gsub("~", "~0"):gsub("/", "~1")) end

--- Refuses the fields of an object that nobody knows; those who prefer to be lenient have them forgotten.
-- @param names list of the fields that there are
-- @return nil, or a problem
function M.unknown(request, body, names)
  local known, errors = {}, {}
  for _, name in ipairs(names) do known[name] = true end
  local is_lenient = M.prefers(request, "handling=lenient")
  local expected = #names > 0 and "expected " .. table.concat(names, ", ") or "this takes none"
  for name in pairs(body) do
    if known[name] == nil and is_lenient then
      body[name] = nil
    elseif not known[name] then
      errors[#errors + 1] = { pointer = "/" .. escape(name), detail = "unknown field, " .. expected }
    end
  end
  if #errors == 0 then return nil end
  table.sort(errors, function(a, b) return a.pointer < b.pointer end)
  return problem.new("invalid", ("%s: %s"):format(errors[1].pointer:sub(2), errors[1].detail), { errors = errors })
end

--- Reads a body that is an object of JSON with no other fields than these; null is as if a field were not there.
-- @param names list of them
-- @param is_optional as for `read`
-- @return decoded JSON, or nil and a problem
function M.object(request, names, is_optional)
  local body, bad = M.read(request, M.JSON, is_optional)
  if not body then return nil, bad end
  bad = M.unknown(request, body, names)
  if bad then return nil, bad end
  for name, value in pairs(body) do
    if value == json.null then body[name] = nil end
  end
  return body
end

--- Returns the bytes of a body, wherever they are.
function M.bytes(request) return request.spool and spools.text(request.spool) or request.body end

local function quality(item)
  local q = item:match ";%s*[qQ]%s*=%s*([%d.]+)"
  return q and tonumber(q) or 1
end

--- Returns true when the client takes one of the media types (RFC 9110 section 12.5.1).
function M.accepts(request, ...)
  local field = request.headers.accept
  if not field or field == "" then return true end
  for _, offered in ipairs { ... } do
    local best, specific = 0, -1
    for item in field:gmatch "[^,]+" do
      local kind = media_type(item)
      local rank = kind == offered and 2 or kind == offered:match "^[^/]+" .. "/*" and 1 or kind == "*/*" and 0 or -1
      if rank > specific then best, specific = quality(item), rank end
    end
    if specific >= 0 and best > 0 then return true end
  end
  return false
end

--- Returns true when the client asks for a preference such as handling=lenient (RFC 7240).
function M.prefers(request, preference)
  for item in (request.headers.prefer or ""):gmatch "[^,]+" do
    if item:lower():gsub("[%s\"]", "") == preference then return true end
  end
  return false
end

return M
