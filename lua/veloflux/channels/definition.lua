--- What a plugin says of a channel (channels/init.lua has the shape): checked when it is registered, so that a mistake
-- is found by its author and not by a client.
local durations = require "veloflux.model.duration"
local schemas = require "veloflux.plugin.schema"

local M = {}

M.HISTORY, M.MAX_HISTORY = 64, 1024
M.MIN_EVERY_MS = 250 -- as often as the hub looks
local PREFIX = "/api/ws/"
local RESERVED = { ping = true, pong = true, subscribe = true, unsubscribe = true, pause = true, resume = true }
local TYPES = { path = "string", permission = "string", type = "string", summary = "string", description = "string",
  every = "string", watch = "function", frame = "function", filter = "function", filter_fields = "table",
  per_client = "boolean", of_tenant = "boolean", messages = "table", receive = "function", history = "number" }
local OF_MESSAGE = { fields = "table", handle = "function", permission = "string", summary = "string" }

local function fail(path, message, ...) error(("channel %s: "):format(tostring(path)) .. message:format(...), 0) end

local function check_types(path, given, types, what)
  for name, value in pairs(given) do
    local expected = types[name]
    if not expected then fail(path, "%s%s is not known", what, tostring(name)) end
    if type(value) ~= expected then fail(path, "%s%s: expected a %s, got a %s", what, name, expected, type(value)) end
  end
end

local function compile_fields(path, raw, what)
  local made, problems = schemas.make(raw)
  if made then return made end
  fail(path, "%s: %s%s", what, problems[1].path ~= "" and problems[1].path .. ": " or "", problems[1].message)
end

local function compile_messages(path, given)
  local messages = {}
  for name, message in pairs(given or {}) do
    if type(name) ~= "string" or not name:find "^[a-z][a-z0-9_]*$" or RESERVED[name] then
      fail(path, "a message cannot be called %s", tostring(name))
    end
    if type(message) ~= "table" then fail(path, "messages.%s: expected a table", name) end
    check_types(path, message, OF_MESSAGE, "messages." .. name .. ".")
    if not message.handle then fail(path, "messages.%s.handle is missing", name) end
    messages[name] = { handle = message.handle, permission = message.permission,
      fields = compile_fields(path, message.fields or {}, "messages." .. name .. ".fields") }
  end
  return messages
end

local function every_ms(path, text)
  if not text then return nil end
  local ms = durations.parse(text)
  if not ms then fail(path, 'every: expected a duration like 10s, got "%s"', text) end
  if ms < M.MIN_EVERY_MS then fail(path, "every: at least %dms", M.MIN_EVERY_MS) end
  return ms
end

--- Checks a definition. Raises a text that says what is wrong.
-- @return the definition as the hub uses it: path, name, permission, type, summary, description, every_s or nil, watch,
-- frame, filter, filter_fields, per_client, of_tenant, messages, receive, history
function M.check(given)
  if type(given) ~= "table" then error("a channel: expected a table, got a " .. type(given), 0) end
  local path = given.path
  check_types(path, given, TYPES, "")
  for _, name in ipairs { "path", "permission", "type" } do
    if given[name] == nil then fail(path, "%s is missing", name) end
  end
  if not path:find "^/api/[%w/_-]*[%w_-]$" or path:find "//" then
    fail(path, "path: expected /api/ and names of letters, digits, - and _")
  end
  if (given.every or given.watch) and not given.frame then fail(path, "frame is missing") end
  if given.per_client and not given.frame then fail(path, "per_client needs frame") end
  if given.of_tenant and not given.filter and not given.per_client then
    fail(path, "of_tenant needs filter or per_client")
  end
  local history = given.history or M.HISTORY
  if history < 0 or history > M.MAX_HISTORY or history % 1 ~= 0 then
    fail(path, "history: expected an integer between 0 and %d", M.MAX_HISTORY)
  end
  local ms = every_ms(path, given.every)
  return { path = path, name = path:sub(1, #PREFIX) == PREFIX and path:sub(#PREFIX + 1) or path:sub(2),
    permission = given.permission, type = given.type, summary = given.summary or "A channel.",
    description = given.description, every_s = ms and ms / 1000, watch = given.watch, frame = given.frame,
    filter = given.filter, per_client = given.per_client or false, of_tenant = given.of_tenant or false,
    history = history,
    filter_fields = given.filter_fields and compile_fields(path, given.filter_fields, "filter_fields"),
    messages = compile_messages(path, given.messages), receive = given.receive }
end

return M
