--- The last published model on disk: data_dir/last-model.json (0600). A control process that is
-- replaced while the conf file cannot be read goes on with it.
--
-- The file is one line of JSON: {"checksum":SHA-256 of all that follows it up to the version,"format":1,
-- "model_bytes":length of the model's text,"model":{...},"stored":{...},"version":N}. The model is a conf file
-- itself, in canonical form (fields in byte order, no spaces, defaults left out), so it is read through the same
-- door. Secrets that the conf file refers to stand there by their reference, others sealed with the key of the data
-- directory. `stored` has the entities of the store, should that be out of reach: by kind and key {json, ...}. What
-- changes of these from version to version stands beside it: last_model_changes.lua.
local ffi = require "ffi"
local changes = require "veloflux.last_model_changes"
local schema = require "veloflux.model.schema"
local grammar = require "veloflux.conf.grammar"
local conf = require "veloflux.conf"
local files = require "veloflux.conf.files"
local keys = require "veloflux.keys"
local crypto = require "veloflux.pdk.crypto"
local json = require "veloflux.pdk.json"
local quote = require("veloflux.model.json").quote
local slices = require "veloflux.slices"

ffi.cdef [[
int vf_file_replace(const char *path, const char *data, size_t len, uint32_t mode);
]]
local C = ffi.C

local M = {}

local PRIVATE = tonumber("600", 8)
local HEAD_BYTES = 100 -- that hold the checksum
local MAX_TRIES = 5 -- of reading what is replaced at the same time

local function checksum(text) return crypto.hex_encode(crypto.hash("sha256", text)) end

--- Returns the path of the file for a data directory.
function M.path(data_dir)
  return data_dir .. "/last-model.json"
end

--- Returns the canonical text of a model: a conf file in JSON.
-- @param seal function(text) -> text for secrets, or nil
function M.encode(model, seal)
  return schema.encode(getmetatable(model.node).compiled or grammar.file, model.node, seal)
end

--- Calls `put(text)` for the pieces of entities of a store (control/entities.lua) as JSON. It may pause.
local function encode_stored(stored, put)
  local before = "{"
  for kind, entities in pairs(stored or {}) do
    put(before .. quote(kind) .. ":{")
    before = ""
    for _, entity in pairs(entities) do
      slices.pause()
      put(before .. changes.row(entity))
      before = ","
    end
    before = "},"
  end
  put(before == "{" and "{}" or "}}")
end

--- Returns the line of the file, and its checksum. It may pause.
local function whole(text, stored, version)
  local pieces, hasher = { "", ',"format":1,' }, crypto.hasher "sha256"
  local function put(piece)
    hasher:update(piece)
    pieces[#pieces + 1] = piece
  end
  put(('"model_bytes":%d,"model":%s,"stored":'):format(#text, text))
  encode_stored(stored, put)
  local sum = crypto.hex_encode(hasher:final())
  pieces[1], pieces[#pieces + 1] = '{"checksum":"' .. sum .. '"', (',"version":%d}\n'):format(version)
  slices.look()
  return table.concat(pieces), sum
end

--- Writes a model as the last published one; a reader or a power cut finds the old one or this.
-- @param model or a draft (conf.read): its text is kept, so that it is made once
-- @param version the version under which it was published
-- @param stored entities of the store by kind and key: {key, json, version, created_ms, updated_ms}; may be nil
-- @param replace function(path, text, mode) -> 0 or a negative error, which may yield; nil: writes at once
-- @return true, or nil and a message
function M.save(model, version, stored, replace)
  local seal, problem = keys.sealer(model.node)
  if not seal then return nil, problem end
  local ok
  ok, problem = keys.remember(model.node)
  if not ok then return nil, problem end
  model.canonical_text = model.canonical_text or M.encode(model, seal)
  local text, path = model.canonical_text, M.path(model.node.data_dir)
  if changes.append(path, text, version, stored) then return true end
  local line, sum = whole(text, stored, version)
  local rc
  if replace then rc = replace(path, line, PRIVATE) else rc = C.vf_file_replace(path, line, #line, PRIVATE) end
  if rc ~= 0 then return nil, ("%s: cannot be written (error %d)"):format(path, -rc) end
  changes.begin(path, text, stored, sum, version, #line)
  return true
end

--- Returns the version of the last published model without reading all of it, or nil.
function M.version(data_dir)
  local path = M.path(data_dir)
  local file = io.open(path, "rb")
  if not file then return nil end
  local sum = (file:read(HEAD_BYTES) or ""):match '^{"checksum":"(%x+)"'
  file:seek("end", -40)
  local version = tonumber((file:read "*a" or ""):match '"version":(%d+)}\n$')
  file:close()
  if sum and version then changes.read(path, sum, version, function(change) version = change.version end) end
  return version
end

--- Splits what stands between checksum and version. Returns the texts of the model and of what was stored.
local function split(body)
  local bytes, at = body:match '^"model_bytes":(%d+),"model":()'
  if not bytes then return body:match '^"model":(.*)$', "{}" end -- of an earlier release
  local rest = at + tonumber(bytes)
  return body:sub(at, rest - 1), body:sub(rest):match '^,"stored":(.*)$'
end

--- Adds what was changed since to what was stored then. Returns the version of it all.
local function add_changes(path, sum, version, stored)
  local last = version
  changes.read(path, sum, version, function(change)
    for kind, rows in pairs(change.puts) do
      stored[kind] = stored[kind] or {}
      for key, row in pairs(rows) do stored[kind][key] = row end
    end
    for kind, keys_gone in pairs(change.deletes) do
      for _, key in ipairs(keys_gone) do stored[kind][key] = nil end
    end
    last = change.version
  end)
  return last
end

--- Returns the checksum that a file says it has, or nil.
local function sum_at(path)
  local file = io.open(path, "rb")
  local head = file and file:read(HEAD_BYTES)
  if file then file:close() end
  return head and head:match '^{"checksum":"(%x+)"'
end

local function damaged(path)
  return nil, { { file = path, path = "", message = "is damaged: its checksum is wrong" } }
end

--- Reads the last published model as a draft, for conf.complete.
-- @param env as for conf.load
-- @param node settings of the node, for its keys; nil: those that it had when that was written
-- @return the draft (conf.read), the version and the entities of the store: {[kind] = {[key] = {json, ...}}}; or
-- nil and a list of problems
function M.read(data_dir, env, node, n_tries)
  local path = M.path(data_dir)
  local line, problem = files.read(path)
  if not line then return nil, { { file = path, path = "", message = problem } } end
  local sum, body, version = line:match '^{"checksum":"(%x+)","format":1,(.*),"version":(%d+)}\n$'
  if not sum then return damaged(path) end
  local text, stored = split(body)
  if not text or checksum(body) ~= sum and checksum(text) ~= sum then return damaged(path) end
  local seal, unseal = keys.sealer(node or keys.remembered(data_dir))
  if not seal then return nil, { { file = path, path = "", message = unseal } } end
  local draft = conf.read { source = { text = text, name = path, dir = data_dir }, env = env, unseal = unseal,
    is_canonical = true, is_forgiving = true }
  if #draft.problems > 0 then return nil, draft.problems end
  stored = json.decode(stored) or {}
  version = add_changes(path, sum, tonumber(version), stored)
  if sum_at(path) ~= sum and (n_tries or 1) < MAX_TRIES then -- a predecessor that still writes has replaced it
    return M.read(data_dir, env, node, (n_tries or 1) + 1)
  end
  return draft, version, stored
end

--- Reads the last published model without the entities of the store.
-- @param env as for conf.load
-- @return the model and its version; or nil and a list of problems
function M.load(data_dir, env)
  local draft, version = M.read(data_dir, env)
  if not draft then return nil, version end
  local model, problems = conf.complete(draft)
  if not model then return nil, problems end
  return model, version
end

return M
