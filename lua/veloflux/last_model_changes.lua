--- What changed in the store's entities since the last model was written as a whole (last_model.lua): a line for each
-- version, appended to data_dir/last-model.changes. To write one route of 10,000 costs what that route costs.
--
-- The first line names the file that the others continue, by its checksum and version; where that is another one by
-- now, they mean nothing. Each other line is "SHA-256 {"version":N,"puts":{KIND:{KEY:ROW}},"deletes":{KIND:[KEY]}}";
-- they end with the first that is not whole. They are not flushed: after a power cut the store knows better.
local ffi = require "ffi"
local crypto = require "veloflux.pdk.crypto"
local files = require "veloflux.conf.files"
local json = require "veloflux.pdk.json"
local lineage = require "veloflux.lineage"
local slices = require "veloflux.slices"
local quote = require("veloflux.model.json").quote

ffi.cdef [[
int vf_file_append(const char *path, const char *data, size_t len);
int unlink(const char *path);
]]
local C = ffi.C

local M = {}

local PRIVATE = tonumber("600", 8)
local LEAST_ROOM, SHARE = 256 * 1024, 0.25 -- bytes, or a share of the whole: then it is written anew

local last -- what was written as a whole: {path, text, kinds, head, room, is_begun}

local function path_of(path) return (path:gsub("%.json$", "")) .. ".changes" end

local function checksum(text) return crypto.hex_encode(crypto.hash("sha256", text)) end

local function head_of(sum, version) return ('{"base":"%s","version":%d}\n'):format(sum, version) end

--- Returns an entity of the store as a member of a JSON object.
function M.row(entity)
  return ('%s:{"json":%s,"version":%d,"created_ms":%d,"updated_ms":%d}'):format(quote(entity.key),
    quote(entity.json), entity.version, entity.created_ms or 0, entity.updated_ms or 0)
end

--- A whole file is written: what comes next continues it.
-- @param path of the file
-- @param text of the model in it
-- @param stored entities of the store in it: kinds that are not changed, but replaced; or nil
-- @param sum its checksum
-- @param bytes its length
function M.begin(path, text, stored, sum, version, bytes)
  C.unlink(path_of(path))
  last = stored and { path = path, text = text, kinds = stored, head = head_of(sum, version),
    room = math.max(LEAST_ROOM, bytes * SHARE) }
end

--- Calls visit(key, entity) for each entity of `after` that is not the same in `before`; with nil for one that is gone.
-- Stops, and returns true, when `visit` does.
local function each_difference(before, after, visit)
  local keys, seen = lineage.difference(before, after), {}
  if keys then
    for _, key in ipairs(keys) do
      if not seen[key] and before[key] ~= after[key] and visit(key, after[key]) then return true end
      seen[key] = true
    end
    return
  end
  for key, entity in pairs(after) do
    slices.pause()
    if before[key] ~= entity and visit(key, entity) then return true end
  end
  for key in pairs(before) do
    slices.pause()
    if not after[key] and visit(key, nil) then return true end
  end
end

local function diff(before, after)
  local puts, deletes = {}, {}
  each_difference(before, after, function(key, entity)
    if entity then puts[#puts + 1] = M.row(entity) else deletes[#deletes + 1] = quote(key) end
  end)
  return puts, deletes
end

--- Says whether what differs has more bytes than there is room for. It may pause.
local function is_too_much(stored)
  local left = last.room
  for kind, entities in pairs(stored) do
    local is_over = each_difference(last.kinds[kind] or {}, entities, function(_, entity)
      left = left - (entity and #entity.json or 0)
      return left < 0
    end)
    if is_over then return true end
  end
  return false
end

--- Returns the line of a version.
local function line_of(version, stored)
  local puts, deletes = {}, {}
  local function add(kind, before, after)
    if before == after then return end
    local new, gone = diff(before or {}, after or {})
    if #new > 0 then puts[#puts + 1] = quote(kind) .. ":{" .. table.concat(new, ",") .. "}" end
    if #gone > 0 then deletes[#deletes + 1] = quote(kind) .. ":[" .. table.concat(gone, ",") .. "]" end
  end
  for kind, entities in pairs(stored) do add(kind, last.kinds[kind], entities) end
  for kind, entities in pairs(last.kinds) do
    if not stored[kind] then add(kind, entities, nil) end
  end
  local text = ('{"version":%d,"puts":{%s},"deletes":{%s}}'):format(version, table.concat(puts, ","),
    table.concat(deletes, ","))
  return checksum(text) .. " " .. text .. "\n"
end

local function write(path, line)
  if last.is_begun then return C.vf_file_append(path, line, #line) == 0 end
  local text = last.head .. line
  return C.vf_file_replace(path, text, #text, PRIVATE) == 0
end

--- Writes what a version changes, when the whole that is there goes with it.
-- @return true; false: the whole has to be written
function M.append(path, text, version, stored)
  if not last or not stored or last.path ~= path or last.text ~= text then return false end
  if not files.is_regular(path) then return false end
  local line = not is_too_much(stored) and line_of(version, stored)
  if not line or #line > last.room or not write(path_of(path), line) then
    last = nil
    return false
  end
  last.kinds, last.room, last.is_begun = stored, last.room - #line, true
  return true
end

--- Calls `each(change)` for the lines that continue a file, in order; `change` is {version, puts, deletes}.
-- @param sum, version of the whole
function M.read(path, sum, version, each)
  local text = files.read(path_of(path))
  local head = head_of(sum, version)
  if not text or text:sub(1, #head) ~= head then return end
  for line_sum, line in text:sub(#head + 1):gmatch "(%x+) ([^\n]*)\n" do
    local change = checksum(line) == line_sum and json.decode(line)
    if not change then return end
    each(change)
  end
end

return M
