--- Origins (RFC 6454) and patterns for them.
local pdk = require "veloflux.pdk"

local M = {}

local DEFAULT_PORTS = { http = "80", https = "443" }
local PLAIN = "^[%w.:/%-]+$" -- what is written with other characters is a pattern

--- Returns an origin in the one form that equal ones share, and its host: lower case, without default port.
-- What is no origin is returned as it is.
function M.normal(text)
  local scheme, rest = text:match "^(%a[%w+.-]*)://([^/]+)$"
  if not scheme then return text, text end
  scheme, rest = scheme:lower(), rest:lower()
  local host, port = rest:match "^(.-):(%d+)$"
  if not host then host = rest end
  if port == DEFAULT_PORTS[scheme] then port = nil end
  return scheme .. "://" .. host .. (port and ":" .. port or ""), host
end

--- Reads one of the configuration's origins.
-- @return {any = true}, {origin = text} or {pattern = text, by_host = true|false}; or nil and a message
function M.read(text)
  if text == "*" then return { any = true } end
  if text:find(PLAIN) then return { origin = (M.normal(text)) } end
  if text:find("://*", 1, true) then
    return nil, "is a pattern, in which * repeats the slash before it: write https://[^.]+\\.example\\.com"
  end
  local whole = [[\A(?:]] .. text .. [[)\z]]
  for _, pattern in ipairs { text, whole } do -- the text alone, too: its parentheses have to be its own
    local _, problem = pdk.re.find("", pattern)
    if problem then return nil, problem end
  end
  return { pattern = whole, by_host = not text:find(":", 1, true) }
end

--- Reads all of them.
-- @return {any, single (the one origin there is, as it is written), exact (a set), patterns (a list)}
function M.compile(list)
  local made = { any = #list == 0, exact = {}, patterns = {} }
  for _, text in ipairs(list) do
    local entry = assert(M.read(text))
    if entry.any then made.any = true end
    if entry.origin then made.exact[entry.origin] = true end
    if entry.pattern then made.patterns[#made.patterns + 1] = entry end
  end
  if #list == 1 and not made.any and #made.patterns == 0 then made.single = list[1] end
  return made
end

--- Says whether an origin is one of a compiled list.
-- @return the origin as it is to be told to the browser, or nil
function M.match(made, text)
  if made.exact[text] then return text end
  local origin, host = M.normal(text)
  if made.exact[origin] then return text end
  for i = 1, #made.patterns do
    local entry = made.patterns[i]
    if pdk.re.find(entry.by_host and host or origin, entry.pattern) then return text end
  end
  return nil
end

return M
