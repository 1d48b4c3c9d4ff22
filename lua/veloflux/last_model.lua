--- The last published model on disk: data_dir/last-model.json (0600). A control process that is
-- replaced while the conf file cannot be read goes on with it.
--
-- The file is one line of JSON: {"checksum":SHA-256 of the model's text,"format":1,"model":{...},
-- "version":N}. The model is a conf file itself, in canonical form (fields in byte order, no spaces,
-- defaults left out), so it is read through the same door. Secrets that the conf file refers to stand
-- there by their reference, others sealed with the key of the data directory.
local ffi = require "ffi"
local schema = require "veloflux.model.schema"
local grammar = require "veloflux.conf.grammar"
local conf = require "veloflux.conf"
local files = require "veloflux.conf.files"
local keys = require "veloflux.keys"
local crypto = require "veloflux.pdk.crypto"

ffi.cdef [[
int vf_file_replace(const char *path, const char *data, size_t len, uint32_t mode);
]]
local C = ffi.C

local M = {}

local PRIVATE = tonumber("600", 8)

local function checksum(text) return crypto.hex_encode(crypto.hash("sha256", text)) end

--- Returns the path of the file for a data directory.
function M.path(data_dir)
  return data_dir .. "/last-model.json"
end

--- Returns the canonical text of a model: a conf file in JSON.
-- @param seal function(text) -> text for secrets, or nil
function M.encode(model, seal)
  return schema.encode(grammar.file, model.node, seal)
end

--- Writes a model as the last published one; a reader or a power cut finds the old one or this.
-- @param version the version under which it was published
-- @return true, or nil and a message
function M.save(model, version)
  local seal, problem = keys.sealer(model.node.data_dir)
  if not seal then return nil, problem end
  local text = M.encode(model, seal)
  local line = ('{"checksum":"%s","format":1,"model":%s,"version":%d}\n'):format(checksum(text), text, version)
  local path = M.path(model.node.data_dir)
  local rc = C.vf_file_replace(path, line, #line, PRIVATE)
  if rc ~= 0 then return nil, ("%s: cannot be written (error %d)"):format(path, -rc) end
  return true
end

--- Returns the version of the last published model without reading it, or nil.
function M.version(data_dir)
  local file = io.open(M.path(data_dir), "rb")
  if not file then return nil end
  file:seek("end", -40)
  local version = (file:read "*a" or ""):match '"version":(%d+)}\n$'
  file:close()
  return tonumber(version)
end

--- Reads the last published model.
-- @param env as for conf.load
-- @return the model and its version; or nil and a list of problems
function M.load(data_dir, env)
  local path = M.path(data_dir)
  local line, problem = files.read(path)
  if not line then return nil, { { file = path, path = "", message = problem } } end
  local sum, text, version = line:match '^{"checksum":"(%x+)","format":1,"model":(.*),"version":(%d+)}\n$'
  if not sum or checksum(text) ~= sum then
    return nil, { { file = path, path = "", message = "is damaged: its checksum is wrong" } }
  end
  local seal, unseal = keys.sealer(data_dir)
  if not seal then return nil, { { file = path, path = "", message = unseal } } end
  local model, problems = conf.load { source = { text = text, name = path, dir = data_dir }, env = env,
    unseal = unseal }
  if not model then return nil, problems end
  return model, tonumber(version)
end

return M
