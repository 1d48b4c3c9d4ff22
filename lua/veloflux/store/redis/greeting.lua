--- How a connection to Redis begins: finding the server (asking Sentinels), authentication, and what has to be known of
-- it. Runs in a coroutine: `await` of what answers to a callback.
local reply = require "veloflux.redis.reply"
local address = require "veloflux.store.redis.address"
local scripts = require "veloflux.store.redis.scripts"

local M = {}

local GREETING_BYTES = 256 * 1024 -- what a server may answer before it is known to be one of ours
local FORMAT = "1" -- of what is stored: scripts.lua

--- Waits for a callback.
-- @param start function(done): arranges for done(...) to be called once, later
-- @return what `done` was given
local function await(start)
  local co, results, waits = coroutine.running(), nil, false
  start(function(...)
    results = { n = select("#", ...), ... }
    if not waits then return end
    local ok, problem = coroutine.resume(co)
    if not ok then error(problem, 0) end
  end)
  if not results then
    waits = true
    coroutine.yield()
  end
  return unpack(results, 1, results.n)
end

local function fault(target, code, message)
  return { code = code, message = ("redis %s: %s"):format(target.label, message) }
end

--- Opens a link. Returns it, or nil and an error.
local function connect(session, target)
  local link
  local err = await(function(done)
    link = session.wire:link(target, { patience_ms = session.timeout_ms, max_reply_bytes = GREETING_BYTES }, done)
    session.opening = link -- closed with the session
  end)
  if err then session.opening = nil end
  if err then return nil, err end
  return link
end

--- Sends commands. Returns the replies, or nil and an error.
local function ask(link, commands)
  local err, replies = await(function(done) link:send(commands, done) end)
  if err then return nil, err end
  return replies
end

local HINTS = {
  NOAUTH = " (the store needs a password, and perhaps a username)",
  WRONGPASS = " (the password or the username of the store is wrong)",
  NOPERM = " (the user of the store may not do what it needs: see the documentation for its ACL)",
}

--- Returns the commands that authenticate: none without a password.
function M.credentials(where)
  if not where.password then return {} end
  return { where.username and { "AUTH", where.username, where.password } or { "AUTH", where.password } }
end

--- Authenticates. Returns true, or nil and an error.
local function authenticate(link, target, username, password)
  local commands = M.credentials { username = username, password = password }
  if #commands == 0 then return true end
  local replies, err = ask(link, commands)
  if not replies then return nil, err end
  if not reply.is_error(replies[1]) then return true end
  return nil, fault(target, replies[1].code, "AUTH: " .. replies[1].err .. (HINTS[replies[1].code] or ""))
end

-- Sentinel --------------------------------------------------------------------------------------------

--- Asks one Sentinel for the master. Returns a target, or nil and an error.
local function ask_sentinel(session, sentinel)
  local where = session.where
  local link, err = connect(session, sentinel)
  if not link then return nil, err end
  local replies
  local ok
  ok, err = authenticate(link, sentinel, where.sentinel_username, where.sentinel_password)
  if ok then replies, err = ask(link, { { "SENTINEL", "get-master-addr-by-name", where.master } }) end
  link:close()
  session.opening = nil
  if not replies then return nil, err end
  local master = replies[1]
  if reply.is_error(master) then return nil, fault(sentinel, master.code, master.err) end
  if type(master) ~= "table" or type(master[1]) ~= "string" or not tonumber(master[2]) then
    return nil, fault(sentinel, "failed", ("knows no master %q"):format(where.master))
  end
  return address.with_label { host = master[1], port = tonumber(master[2]) }
end

--- Finds the master: the Sentinel that answered last is asked first.
local function find_master(session)
  local targets = session.where.targets
  local target, err
  for _ = 1, #targets do
    target, err = ask_sentinel(session, targets[session.turn])
    if target then return target end
    session.turn = session.turn % #targets + 1
  end
  return nil, err
end

--- Returns the server to connect to, or nil and an error.
local function find(session)
  if session.redirect then return session.redirect end
  if session.where.kind == "sentinel" then return find_master(session) end
  return session.where.targets[session.turn]
end

-- Greeting --------------------------------------------------------------------------------------------

local function facts_of(info)
  local facts = {}
  if type(info) ~= "string" then return facts end
  for name, value in info:gmatch "([%w_]+):([^\r\n]*)" do facts[name] = value end
  return facts
end

--- What is known of a server that is not fit to keep what shall never be lost; a text, or nil.
local function warning_of(facts)
  local warnings = {}
  if facts.aof_enabled == "0" then
    warnings[#warnings + 1] = "appendonly is off: a crash of Redis loses what was stored since its last snapshot"
  end
  if (facts.maxmemory_policy or ""):find "^allkeys" and facts.maxmemory ~= "0" then
    warnings[#warnings + 1] = ("maxmemory-policy is %s: when memory is short, Redis throws the store away"):format(
      facts.maxmemory_policy)
  end
  return #warnings > 0 and table.concat(warnings, "; ") or nil
end

--- What every connection says, after AUTH: list of { command, whether the server may refuse it }.
local function commands_of(session)
  local list = { { { "HGET", session.meta_key, "format" }, false }, { { "ROLE" }, true }, { { "INFO" }, true },
    { { "CLIENT", "SETNAME", "veloflux" }, true } }
  if session.where.db ~= 0 then table.insert(list, 1, { { "SELECT", session.where.db }, false }) end
  return list
end

local function check_role(session, target, role)
  local kind = type(role) == "table" and role[1]
  if session.where.kind ~= "sentinel" or not kind or kind == "master" then return true end
  return nil, fault(target, "READONLY", ("is a %s, and the Sentinels call it the master"):format(tostring(kind)))
end

--- Takes a redirection of a cluster: "MOVED 1234 10.0.0.1:6379".
-- @return a target, or nil
function M.redirection(target, text)
  local host, port = text:match "^%u+ %d+ (.*):(%d+)"
  if not host then return nil end
  if host == "" then host = target.host end
  return host and address.with_label { host = host, port = tonumber(port) }
end

local function check_replies(session, target, commands, replies)
  local of = {}
  for i, entry in ipairs(commands) do
    local value = replies[i]
    if reply.is_error(value) then
      if value.code == "MOVED" then return nil, fault(target, "MOVED", value.err), M.redirection(target, value.err) end
      local is_under_way = value.code == "ASK" -- to another node of the cluster: each request asks there
      if not entry[2] and not is_under_way then
        return nil, fault(target, value.code, value.err .. (HINTS[value.code] or ""))
      end
      value = reply.null
    end
    of[entry[1][1]] = value
  end
  if of.HGET ~= reply.null and of.HGET ~= FORMAT then
    return nil, fault(target, "failed", "its data was written by another version of VeloFlux, or by something else")
  end
  local is_master, err = check_role(session, target, of.ROLE)
  if not is_master then return nil, err end
  return of
end

--- Loads the scripts. Without their digests they are sent whole each time.
local function load_scripts(link)
  local commands, names = {}, {}
  for name, script in pairs(scripts) do
    names[#names + 1] = name
    commands[#names] = { "SCRIPT", "LOAD", script.text }
  end
  local replies, err = ask(link, commands)
  if not replies then return nil, err end
  local shas = {}
  for i, name in ipairs(names) do
    if type(replies[i]) == "string" then shas[scripts[name]] = replies[i] end
  end
  return shas
end

--- Readies a link. Returns what is known of the server, or nil, an error and where to go instead.
local function greet(session, link, target)
  local ok, err = authenticate(link, target, session.where.username, session.where.password)
  if not ok then return nil, err end
  local commands, list = commands_of(session), {}
  for i, entry in ipairs(commands) do list[i] = entry[1] end
  local replies, of, redirect, shas
  replies, err = ask(link, list)
  if not replies then return nil, err end
  of, err, redirect = check_replies(session, target, commands, replies)
  if not of then return nil, err, redirect end
  shas, err = load_scripts(link)
  if not shas then return nil, err end
  return { shas = shas, warning = warning_of(facts_of(of.INFO)), target = target }
end

--- Opens a link to the server that a session is to use.
-- @return the link and what is known of the server; or nil, an error and where to go instead (a target, or nil)
function M.establish(session)
  local target, err = find(session)
  if not target then return nil, err end
  local link, server, redirect
  link, err = connect(session, target)
  if not link then return nil, err end
  server, err, redirect = greet(session, link, target)
  session.opening = nil
  if server then return link, server end
  link:close()
  return nil, err, redirect
end

return M
