--- The batches of operations of a day, the newest first, without their results: each node writes down its own in the
-- store, and all can be listed on each. The whole of a batch is in bulk_run.lua.
local await = require "veloflux.admin.await"
local cluster = require "veloflux.cluster"
local json = require "veloflux.pdk.json"

local M = {}

local BUCKET, DAY_MS = "bulk_recent", 24 * 3600 * 1000
local ALONE = "node" -- the key of a node that is no cluster's
local MOST = 500     -- that are listed of a node

local own -- list of documents, the oldest first; nil: not read yet

local function key() return cluster.id() or ALONE end

local function read(store, name)
  local err, text = await.call(function(callback) store:get(BUCKET, name, callback) end)
  if err then return nil, err end
  return text and json.decode(text) or json.array()
end

local function brief(document, author)
  local copy = { author = author }
  for name, value in pairs(document) do
    if name ~= "results" then copy[name] = value end
  end
  return copy
end

--- Writes down how far a batch is. Returns an error of the store, or nil. Yields.
-- @param document of bulk_run.lua
-- @param author whose it is
function M.note(store, document, author)
  local now = brief(document, author)
  if not own then
    local known, err = read(store, key())
    if not known then return err end
    own = own or known
  end
  local at = #own + 1
  for i, known in ipairs(own) do
    if known.operation_id == now.operation_id then at = i end
  end
  own[at] = now
  if #own > MOST then table.remove(own, 1) end
  return (await.call(function(callback) store:put(BUCKET, key(), json.encode(own), DAY_MS, callback) end))
end

local function nodes()
  local names, seen = { key() }, { [key()] = true }
  for _, node in ipairs(cluster.nodes()) do
    if not seen[node.id] then
      seen[node.id] = true
      names[#names + 1] = node.id
    end
  end
  return names
end

--- Returns the documents of all nodes, or nil and an error of the store. Yields.
-- @param since time as text: older ones are not listed
-- @param has_ended function(document) -> true, for those whose node may have ended before it wrote that down
-- @param finish function(operation_id) -> document as it is now, of one that had not ended
function M.list(store, since, has_ended, finish)
  local all = {}
  for _, name in ipairs(nodes()) do
    local list, err = read(store, name)
    if not list then return nil, err end
    for _, document in ipairs(list) do
      if not has_ended(document) then document = brief(finish(document.operation_id) or document, document.author) end
      if document.created_at >= since then all[#all + 1] = document end
    end
  end
  return all
end

--- Forgets what is known: for specs.
function M.reset() own = nil end

return M
