--- Connections that wait for reuse, by a key that says what they are good for. Per process; the last one
-- kept is taken first, so that few stay warm and the rest age out. A kept one that its peer closes, or
-- that is kept for too long, closes itself (src/net/socket.h: park).
--
-- For what does not speak HTTP: pdk.socket and pdk.redis. What does is kept in the proxy's upstream pool
-- (src/proxy/lending.h), by whom it is connected to. Here the keys are made up by plugins, and say what was agreed on a
-- connection, too: a database, a user.
local M = {}

local MOST = 1024 -- in one process; the oldest of the fullest key goes first

local pools = {} -- key -> list, the newest last
local n_kept = 0 -- those that closed by themselves included, until they are met

local function remove(list, key, i)
  n_kept = n_kept - 1
  local stream = table.remove(list, i)
  if #list == 0 then pools[key] = nil end
  return stream
end

--- Takes a kept stream, for the task that runs.
-- @return stream, or nil when there is none
function M.take(key)
  local list = pools[key]
  while list and #list > 0 do
    local stream = remove(list, key, #list)
    if stream:unpark() then return stream end
  end
end

-- Forgets the streams that have closed.
local function sweep()
  for key, list in pairs(pools) do
    for i = #list, 1, -1 do
      if not list[i]:is_open() then remove(list, key, i):close() end
    end
  end
end

local function drop_oldest_of_fullest()
  local fullest
  for key, list in pairs(pools) do
    if not fullest or #list > #pools[fullest] then fullest = key end
  end
  remove(pools[fullest], fullest, 1):close()
end

--- Keeps a stream that is open and silent; closes it when it is not, or when there are too many.
-- @param stream of stream.lua, not used by the caller any more
-- @param idle_ms integer
-- @param most integer, of one key
-- @return true when it was kept
function M.give(key, stream, idle_ms, most)
  if most < 1 or not stream:park(idle_ms) then
    stream:close()
    return false
  end
  local list = pools[key]
  if not list then
    list = {}
    pools[key] = list
  end
  list[#list + 1] = stream
  n_kept = n_kept + 1
  if #list > most then remove(list, key, 1):close() end
  if n_kept > MOST then
    sweep()
    if n_kept > MOST then drop_oldest_of_fullest() end
  end
  return true
end

--- How many are kept, of `key` or altogether; those that have closed are not counted.
function M.count(key)
  sweep()
  if not key then return n_kept end
  return pools[key] and #pools[key] or 0
end

--- Closes all (the process drains).
function M.close_all()
  for key, list in pairs(pools) do
    while #list > 0 do remove(list, key, #list):close() end
  end
end

return M
