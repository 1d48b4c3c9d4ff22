--- Where a Redis server is: redis://user:password@host:port/db or unix:///path?db=0, or fields; as a target
-- { host, port, path, username, password, db, label, key }.
local M = {}

local function decode(text)
  return (text:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

local function database(text)
  if text == nil or text == "" then return 0 end
  local db = tonumber(text)
  if db and db % 1 == 0 and db >= 0 and db < 2 ^ 31 then return db end
end

local function parse_unix(rest)
  local target = { path = decode(rest:match "^[^?]*") }
  if target.path:sub(1, 1) ~= "/" then return nil, "its path does not begin with a slash" end
  target.db = database(rest:match "[?&]db=([^&]*)")
  if not target.db then return nil, "its db is no number" end
  return target
end

local function parse_tcp(rest)
  local authority, db = rest:match "^([^/?#]*)/?([^?#]*)"
  local user, address = authority:match "^(.*)@([^@]*)$"
  local target = { db = database(db) }
  if not target.db then return nil, "its db is no number" end
  if user then
    local name, password = user:match "^([^:]*):(.*)$"
    if not password then return nil, "it has a user and no password" end
    target.username, target.password = name ~= "" and decode(name) or nil, decode(password)
  end
  local host, port = (address or authority):match "^(%[[%x:.]+%]):?(%d*)$"
  if not host then host, port = (address or authority):match "^([^:]+):?(%d*)$" end
  if not host then return nil, "it names no host" end
  target.host, target.port = host, port == "" and 6379 or tonumber(port)
  if target.port < 1 or target.port > 65535 then return nil, "its port is no port" end
  return target
end

--- Takes a URL apart. Returns a target without label and key, or nil and what is wrong; a password is never in it.
function M.parse(text)
  local scheme, rest = text:match "^(%a+)://(.*)$"
  if scheme == "redis" then return parse_tcp(rest) end
  if scheme == "unix" then return parse_unix(rest) end
  if scheme == "rediss" then return nil, "TLS to Redis is not available in this version" end
  return nil, "it is not of the form redis://host:port/db or unix:///path"
end

--- Completes a target: `label` for messages, `key` for who may share a connection.
function M.complete(target)
  target.label = target.path and "unix:" .. target.path or target.host .. ":" .. target.port
  target.key = ("redis %s %d %s %s"):format(target.label, target.db, target.username or "", target.password or "")
  return target
end

return M
