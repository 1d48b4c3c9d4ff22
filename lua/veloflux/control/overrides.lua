--- What is done to backends at run time: drained, disabled, weighed. It is in force in the state area, which outlives
-- reloads and processes, and written to data_dir/overrides.json, from which it comes back after a restart of the whole
-- instance, before the first request is served. A backend that the configuration has no more is forgotten.
local ffi = require "ffi"
local json = require "veloflux.pdk.json"
local link = require "veloflux.control.link"
local sink = require "veloflux.compiler.sink"

ffi.cdef [[
struct vf_state;
int vf_state_override(struct vf_state *, uint64_t, int, int64_t);
int vf_file_replace(const char *path, const char *data, size_t len, uint32_t mode);
]]
local C = ffi.C

local M = {}

M.AS_IT_IS = -1
M.CONFIGURED = 0x7fffffffffffffffLL -- VF_STATE_CONFIGURED
M.NONE, M.DRAINING, M.DISABLED = 0, 1, 2
local PRIVATE = tonumber("600", 8)

local known = {} -- {data_dir, by_id}: by_id has {tenant, pool, address, drain, weight}; weight nil: the configured one

local function path_of(data_dir) return data_dir .. "/overrides.json" end

local function id_of(backend) return sink.id("backend", backend.tenant, backend.pool, backend.address) end

local function name_of(backend) return ("%016x"):format(id_of(backend)) end

local function is_override(entry)
  return type(entry) == "table" and type(entry.tenant) == "string" and type(entry.pool) == "string"
    and type(entry.address) == "string" and (entry.drain == 0 or entry.drain == 1 or entry.drain == 2)
    and (entry.weight == nil or type(entry.weight) == "number")
end

--- Reads what is written down for a data directory, once. A file that cannot be read is worth a line, no more.
local function load(data_dir)
  if known.data_dir == data_dir then return known.by_id end
  known = { data_dir = data_dir, by_id = {} }
  local file = io.open(path_of(data_dir), "rb")
  local text = file and file:read "*a"
  if file then file:close() end
  local list = text and json.decode(text)
  if text and type(list) ~= "table" then link.log("warn", "overrides.damaged", path_of(data_dir)) end
  for _, entry in ipairs(type(list) == "table" and list or {}) do
    if is_override(entry) then known.by_id[name_of(entry)] = entry end
  end
  return known.by_id
end

local function save()
  local names, list = {}, json.array {}
  for name in pairs(known.by_id) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do list[i] = known.by_id[name] end
  local text, path = json.encode(list) .. "\n", path_of(known.data_dir)
  local rc = C.vf_file_replace(path, text, #text, PRIVATE)
  if rc ~= 0 then link.log("error", "overrides.failed", ("%s: cannot be written (error %d)"):format(path, -rc)) end
end

local function put(state, backend, drain, weight)
  return C.vf_state_override(ffi.cast("struct vf_state *", state), id_of(backend), drain, weight) == 0
end

--- What is written down of a backend, once something more is done to it; nil: nothing is.
local function entry_of(by_id, backend, drain, weight)
  local before = by_id[name_of(backend)] or { drain = M.NONE }
  local own = { tenant = backend.tenant, pool = backend.pool, address = backend.address, drain = before.drain,
    weight = before.weight }
  if drain ~= M.AS_IT_IS then own.drain = drain end
  if weight == M.CONFIGURED then own.weight = nil elseif weight ~= M.AS_IT_IS then own.weight = weight end
  return (own.drain ~= M.NONE or own.weight) and own or nil
end

--- Does something to backends, and writes it down, once for all of them.
-- @param state the state area
-- @param backends list of {tenant, pool, address}
-- @param drain NONE, DRAINING, DISABLED or AS_IT_IS
-- @param weight a number, CONFIGURED or AS_IT_IS
-- @return nil; or the place in the list of the first that is not running: it is done to those before it only
function M.set(state, data_dir, backends, drain, weight)
  local by_id, gone = load(data_dir), nil
  for i, backend in ipairs(backends) do
    if not put(state, backend, drain, weight) then
      gone = i
      break
    end
    by_id[name_of(backend)] = entry_of(by_id, backend, drain, weight)
  end
  if gone ~= 1 and backends[1] then save() end
  return gone
end

--- Puts what is written down into the state area: the backends of a configuration have their slots, and do not serve
-- it yet. Nothing is done to those that it does not have.
function M.apply(state, data_dir)
  for _, entry in pairs(load(data_dir)) do put(state, entry, entry.drain, entry.weight or M.CONFIGURED) end
end

--- A model is in force: what it does not have is forgotten.
function M.sweep(model)
  local by_id = load(model.node.data_dir)
  if next(by_id) == nil then return end
  local there, is_changed = {}, false
  for _, pool in ipairs(model.pools) do
    for _, backend in ipairs(pool.backends) do
      there[name_of { tenant = pool.tenant, pool = pool.name, address = backend.address.text }] = true
    end
  end
  for name in pairs(by_id) do
    if not there[name] then by_id[name], is_changed = nil, true end
  end
  if is_changed then save() end
end

--- Forgets what was read, as a new process has it: for specs.
function M.reset() known = {} end

return M
