--- URLs of requests: taking them apart, and resolving a Location against the one it came from (RFC 3986).
local M = {}

local PORTS = { http = 80, https = 443 }

local function parse_authority(authority)
  local host, port
  if authority:sub(1, 1) == "[" then
    host, port = authority:match "^(%[[%x:.]+%])(.*)$"
  else
    host, port = authority:match "^([^:]+)(.*)$"
  end
  if not host then return nil, "it names no host" end
  if port == "" or port == ":" then return host:lower() end
  local digits = port:match "^:(%d%d?%d?%d?%d?)$"
  if not digits or tonumber(digits) < 1 or tonumber(digits) > 65535 then return nil, "its port is no port" end
  return host:lower(), tonumber(digits)
end

--- Takes an absolute URL apart. The fragment, which is not sent, is dropped.
-- @return table { scheme, host, port, target ("/path?query"), host_header, origin ("http://host:port") }, or nil and
--   what is wrong
function M.parse(text)
  local scheme, rest = text:match "^(%a[%w+.-]*)://(.*)$"
  if not scheme then return nil, "it is not of the form http://host/path" end
  scheme = scheme:lower()
  if not PORTS[scheme] then return nil, ("its scheme is %q, not http"):format(scheme) end
  rest = rest:match "^[^#]*"
  local authority, target = rest:match "^([^/?]*)(.*)$"
  if authority:find("@", 1, true) then return nil, "it holds a user name: send an Authorization field instead" end
  local host, port = parse_authority(authority)
  if not host then return nil, port end
  if target:sub(1, 1) ~= "/" then target = "/" .. target end
  if target:find "[%z\1-\32\127]" then return nil, "its path has a space or control character: percent-encode it" end
  local default = PORTS[scheme]
  port = port or default
  return {
    scheme = scheme, host = host, port = port, target = target,
    host_header = port == default and host or host .. ":" .. port,
    origin = ("%s://%s:%d"):format(scheme, host, port),
  }
end

-- RFC 3986 section 5.2.4.
local function remove_dots(path)
  local out = {}
  for segment in path:gmatch "/([^/]*)" do
    if segment == ".." then
      out[#out] = nil
    elseif segment ~= "." then
      out[#out + 1] = segment
    end
  end
  local last = path:match "/([^/]*)$"
  if last == "." or last == ".." then out[#out + 1] = "" end
  return "/" .. table.concat(out, "/")
end

--- Resolves a reference (the value of a Location field) against a parsed URL. Returns an absolute URL.
function M.resolve(base, reference)
  reference = reference:match "^[^#]*"
  if reference:match "^%a[%w+.-]*:" then return reference end
  if reference:sub(1, 2) == "//" then return base.scheme .. ":" .. reference end
  local prefix = base.scheme .. "://" .. base.host_header
  local path, query = base.target:match "^([^?]*)(.*)$"
  if reference == "" then return prefix .. path .. query end
  if reference:sub(1, 1) == "?" then return prefix .. path .. reference end
  local reference_path, reference_query = reference:match "^([^?]*)(.*)$"
  if reference_path:sub(1, 1) ~= "/" then reference_path = path:match "^(.*/)" .. reference_path end
  return prefix .. remove_dots(reference_path) .. reference_query
end

return M
