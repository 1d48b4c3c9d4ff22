--- Where a Redis server is: redis://user:password@host:port/db, rediss:// the same with TLS, unix:///path?db=0, or
-- fields; as a target { host, port, path, username, password, db, tls, label, key }. tls is nil or {name, insecure}:
-- the name that is verified, if not the host; or that nothing is.
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

--- Takes HOST or HOST:PORT apart.
-- @return { host, port }, or nil and what is wrong
function M.parse_address(text, default_port)
  local host, port = text:match "^(%[[%x:.]+%]):?(%d*)$"
  if not host then host, port = text:match "^([^:]+):?(%d*)$" end
  if not host then return nil, "it names no host" end
  port = port == "" and default_port or tonumber(port)
  if port < 1 or port > 65535 then return nil, "its port is no port" end
  return { host = host, port = port }
end

--- Takes USER:PASSWORD@REST apart.
-- @return { username, password }, either may be nil, and the rest; or nil and what is wrong
function M.parse_user(authority)
  local user, rest = authority:match "^(.*)@([^@]*)$"
  if not user then return {}, authority end
  local name, password = user:match "^([^:]*):(.*)$"
  if not password then return nil, "it has a user and no password" end
  return { username = name ~= "" and decode(name) or nil, password = decode(password) }, rest
end

--- Reads the number of a database; nil: it is none. Nothing is 0.
M.parse_database = database

local function parse_tcp(rest)
  local authority, db = rest:match "^([^/?#]*)/?([^?#]*)"
  local user, address = M.parse_user(authority)
  if not user then return nil, address end
  local target, err = M.parse_address(address, 6379)
  if not target then return nil, err end
  target.db = database(db)
  if not target.db then return nil, "its db is no number" end
  target.username, target.password = user.username, user.password
  return target
end

--- Takes a URL apart. Returns a target without label and key, or nil and what is wrong; a password is never in it.
function M.parse(text)
  local scheme, rest = text:match "^(%a+)://(.*)$"
  if scheme == "redis" then return parse_tcp(rest) end
  if scheme == "unix" then return parse_unix(rest) end
  if scheme == "rediss" then
    local target, err = parse_tcp(rest)
    if target then target.tls = {} end
    return target, err
  end
  return nil, "it is not of the form redis://host:port/db or unix:///path"
end

--- Completes a target: `label` for messages, `key` for who may share a connection.
function M.complete(target)
  target.label = target.path and "unix:" .. target.path or target.host .. ":" .. target.port
  local tls = target.tls
  target.key = ("redis %s %d %s %s %s"):format(target.label, target.db, target.username or "", target.password or "",
    tls and ("tls %s %s"):format(tls.name or "", tostring(tls.insecure or false)) or "plain")
  return target
end

return M
