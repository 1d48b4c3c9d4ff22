--- How versions and entities are written in Redis, beside whatever bytes their texts have: netstrings.
--
--   an entity    "VERSION CREATED_MS UPDATED_MS\nJSON"
--   a record     id of the commit, then time_ms, author, source, reason, request_id, summary; each "LENGTH:BYTES,", or
--                "-," for nothing
--   changes      for each: field, what it was (VERSION CREATED_MS UPDATED_MS, or "") and its JSON, what it became
--   a field      KIND NUL KEY
local reply = require "veloflux.redis.reply"

local M = {}

--- Returns a whole number as a text.
function M.number(value) return ("%.0f"):format(value) end

--- Reads a whole number that a reply has as a number or a text, its null as 0; nil when it is none.
function M.whole(value)
  if value == reply.null then return 0 end
  local number = type(value) ~= "table" and tonumber(value)
  return number and number % 1 == 0 and number >= 0 and number < 2 ^ 53 and number or nil
end

--- Returns what a reply says, or nil for its null.
function M.optional(value)
  if value ~= reply.null then return value end
end

--- Returns texts, some of which may be nil, as one.
-- @param n how many
function M.pack(n, ...)
  local parts = {}
  for i = 1, n do
    local text = select(i, ...)
    parts[i] = text == nil and "-," or ("%d:%s,"):format(#text, text)
  end
  return table.concat(parts)
end

--- Returns the list of texts (with holes, and `n`) that `pack` or a script has made one; nil when it is none.
function M.unpack(text)
  local list, at, n = {}, 1, 0
  while at <= #text do
    n = n + 1
    if text:sub(at, at + 1) == "-," then
      at = at + 2
    else
      local digits, from = text:match("^(%d+):()", at)
      local stop = digits and from + tonumber(digits)
      if not stop or text:sub(stop, stop) ~= "," then return nil end
      list[n], at = text:sub(from, stop - 1), stop + 1
    end
  end
  list.n = n
  return list
end

function M.field(kind, key) return kind .. "\0" .. key end

--- Returns kind and key of a field; nil when it is none.
function M.split_field(field)
  if type(field) == "string" then return field:match "^([^%z]*)%z(.*)$" end
end

local function times(text)
  local version, created_ms, updated_ms = text:match "^(%d+) (%d+) (%d+)$"
  return tonumber(version), tonumber(created_ms), tonumber(updated_ms)
end

--- Returns an entity of its times and its JSON; nil for no times.
function M.entity(meta, json)
  local version, created_ms, updated_ms = times(meta)
  return version and { json = json, version = version, created_ms = created_ms, updated_ms = updated_ms }
end

--- Reads a whole entity; nil when it is none.
function M.read_entity(text)
  if type(text) ~= "string" then return nil end
  local version, created_ms, updated_ms, at = text:match "^(%d+) (%d+) (%d+)\n()"
  return version and { json = text:sub(at), version = tonumber(version), created_ms = tonumber(created_ms),
    updated_ms = tonumber(updated_ms) } or nil
end

function M.write_entity(entity)
  return ("%.0f %.0f %.0f\n%s"):format(entity.version, entity.created_ms, entity.updated_ms, entity.json)
end

function M.write_record(change)
  return M.pack(6, ("%.0f"):format(change.time_ms), change.author, change.source, change.reason, change.request_id,
    change.summary)
end

--- Reads the record of a version. Returns it and the id of the commit as the record has it; nil when it is none.
function M.read_record(version, text)
  local list = type(text) == "string" and M.unpack(text)
  if not list or list.n ~= 7 or not list[1] or not M.whole(list[2]) then return nil end
  return { version = version, time_ms = tonumber(list[2]), author = list[3], source = list[4], reason = list[5],
    request_id = list[6], summary = list[7] }, M.pack(1, list[1])
end

--- Reads what a version changed: list of { kind, key, before, after }, both entities or nil; nil when it is none.
function M.read_changes(text)
  local list, changes = type(text) == "string" and M.unpack(text), {}
  if not list or list.n % 5 ~= 0 then return nil end
  for at = 1, list.n, 5 do
    local kind, key = M.split_field(list[at] or "")
    if not kind then return nil end
    changes[#changes + 1] = { kind = kind, key = key, before = M.entity(list[at + 1] or "", list[at + 2]),
      after = M.entity(list[at + 3] or "", list[at + 4]) }
  end
  return changes
end

--- The error of what rests on a lease that has passed to another.
-- @param fence {name, token}
function M.fenced(fence)
  return { code = "fenced", message = ("the lease %s has another token than %d"):format(fence.name, fence.token) }
end

return M
