--- Sends what is known of each exchange to an HTTP server, as JSON, in batches, from a queue.
local pdk = require "veloflux.pdk"
local senders = require "veloflux.plugins.http-log.sender"

local Plugin = { PRIORITY = 12, VERSION = "1.0.0" }

local known = setmetatable({}, { __mode = "k" }) -- configuration -> sender

local function sender_of(conf)
  local sender = known[conf]
  if not sender then
    sender = senders.new(conf)
    known[conf] = sender
  end
  return sender
end

--- Sets a member of the entry, or takes it out.
local function put(entry, steps, value)
  local at = entry
  for i = 1, #steps - 1 do
    if type(at[steps[i]]) ~= "table" then
      if value == nil then return end
      at[steps[i]] = {}
    end
    at = at[steps[i]]
  end
  at[steps[#steps]] = value
end

--- Templates see the entry as it is without custom fields.
local function add_fields(entry, fields)
  local values = {}
  for i = 1, #fields do values[i] = fields[i].render and fields[i].render(entry) or nil end
  for i = 1, #fields do put(entry, fields[i].steps, values[i]) end
end

--- Sets members that Lua makes. One that fails leaves its member as it is.
local function add_made(makers)
  for i = 1, #makers do
    local ok, value = pcall(makers[i].make, pdk)
    if ok then
      pdk.log.set_serialize_value(makers[i].path, value)
    else
      pdk.log.err("custom_fields_by_lua.", makers[i].path, ": ", value)
    end
  end
end

function Plugin:log(conf)
  local sender = sender_of(conf)
  add_made(sender.makers)
  local entry = pdk.log.serialize()
  if #sender.fields > 0 then add_fields(entry, sender.fields) end
  local text, problem = pdk.json.lenient(entry)
  if not text then return pdk.log.err("an entry cannot be written: ", problem) end
  pdk.queue.get(sender.name, sender.options, sender.ship):push(text)
end

return Plugin
