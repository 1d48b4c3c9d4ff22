--- Which route answers a request and why; which routes never do. Asks the router on a compiled snapshot.
local ffi = require "ffi"
local layout = require "veloflux.compiler.layout"
local slices = require "veloflux.slices"
local compiler = require "veloflux.compiler"

ffi.cdef [[
struct vf_explain_field { const char *name; const char *value; };
struct vf_explain_request {
  const char *method, *host, *target;
  const struct vf_explain_field *fields;
  size_t n_fields;
};
struct vf_route_rival { uint32_t index, verdict, host_class, condition; };
int vf_explain(const void *snapshot, size_t size, const struct vf_explain_request *request,
               struct vf_route_rival *rivals, size_t room, size_t *n_rivals, char *path, char *error,
               size_t error_size);
int vf_explain_running(void *snapshot, const struct vf_explain_request *request, struct vf_route_rival *rivals,
                       size_t room, size_t *n_rivals, char *path, char *error, size_t error_size);
uint32_t vf_explain_ranks(const void *snapshot, uint32_t *ranks, uint32_t room);
int64_t vf_explain_backend(void *state, const void *snapshot, uint32_t pool_index, const char *hash_key,
                           const char *client);
struct vf_explain_shadow { uint32_t route, by; };
uint32_t vf_explain_shadows(const void *snapshot, size_t size, uint32_t first, uint32_t count,
                            struct vf_explain_shadow *shadows);
]]
local C = layout.C

local M = {}

local VERDICTS = { [0] = "wins", "rank", "method", "condition" } -- enum vf_route_verdict
local HOST_CLASSES = { [0] = "exact host", "wildcard host", "any host" } -- enum vf_host_class
local MAX_RIVALS = 1024
local SOME_ROUTES = 4096 -- that are looked at in one go: less than a millisecond

--- Asks which routes match a request. `ask` is function(asked, rivals, room, count, path, fault, fault_bytes).
local function ask_with(ask, request)
  local names, n_fields = {}, 0
  for name in pairs(request.headers or {}) do names[#names + 1] = name end
  local fields = ffi.new("struct vf_explain_field[?]", math.max(#names, 1))
  for i, name in ipairs(names) do
    fields[i - 1].name, fields[i - 1].value = name, request.headers[name]
    n_fields = i
  end
  local asked = ffi.new("struct vf_explain_request", request.method, request.host, request.target, fields, n_fields)
  local rivals = ffi.new("struct vf_route_rival[?]", MAX_RIVALS)
  local count, path = ffi.new "size_t[1]", ffi.new("char[?]", #request.target + 2)
  local fault = ffi.new "char[128]"
  local rc = ask(asked, rivals, MAX_RIVALS, count, path, fault, 128)
  if rc ~= 0 then return nil, ffi.string(fault) end
  local list = {}
  for i = 0, math.min(tonumber(count[0]), MAX_RIVALS) - 1 do
    local rival = rivals[i]
    list[i + 1] = { route = rival.index + 1, verdict = VERDICTS[rival.verdict],
      host_class = HOST_CLASSES[rival.host_class], condition = rival.condition }
  end
  return { path = ffi.string(path), rivals = list }
end

--- Asks which routes match a request.
-- @param compiled of compiler.compile
-- @param request {method, host, target, headers}: headers is a map of lower-case names
-- @return {path, rivals}: the normalised path, and {route, verdict, host_class, condition} in order of
-- preference; `route` is a position in model.routes, `condition` one in the route's list (both from 1).
-- Or nil and why such a request is refused.
function M.ask(compiled, request)
  return ask_with(function(...) return C.vf_explain(compiled.data, compiled.size, ...) end, request)
end

--- The same of a snapshot that this process runs.
-- @param snapshot pointer to struct vf_snapshot
function M.ask_running(snapshot, request)
  return ask_with(function(...) return C.vf_explain_running(ffi.cast("void *", snapshot), ...) end, request)
end

--- Returns the positions of all routes in model.routes (from 1), the preferred first. Classes of hosts come
-- before that.
function M.order(snapshot)
  local count = C.vf_explain_ranks(snapshot, nil, 0)
  local ranks, order = ffi.new("uint32_t[?]", math.max(count, 1)), {}
  C.vf_explain_ranks(snapshot, ranks, count)
  for i = 0, count - 1 do order[ranks[i] + 1] = i + 1 end
  return order
end

--- Asks which backend a request to a pool would get now; src/lua/explain.h says of which algorithms that is
-- an answer.
-- @param pool its index in the snapshot, from 0
-- @param hash_key text or nil
-- @param client IP address as text, or "" for unknown
-- @return the index of the backend in the snapshot, or nil: none is eligible
function M.backend(state, snapshot, pool, hash_key, client)
  local index = tonumber(C.vf_explain_backend(ffi.cast("void *", state), snapshot, pool, hash_key, client))
  if index < 0 then return nil end
  return index
end

local last = {} -- {routes, tenants, list}: what shadows were looked for in last

--- Says whether the routes of a model are those of the last one. Which of them match first depends on nothing else than
-- them and the hosts of their tenants.
local function is_last(model)
  local routes = model.inputs and model.inputs.routes
  if not routes or routes ~= last.routes or #model.tenants ~= #last.tenants then return false end
  for i, tenant in ipairs(model.tenants) do
    if tenant ~= last.tenants[i] then return false end
  end
  return true
end

--- Lists the routes that can never answer as {route, by}: positions in model.routes. It may pause.
-- @param compiled of compiler.compile
function M.shadows(compiled)
  if is_last(compiled.model) then return last.list end
  local shadows, list = ffi.new("struct vf_explain_shadow[?]", SOME_ROUTES), {}
  compiler.hold(compiled)
  for first = 0, compiled.summary.routes - 1, SOME_ROUTES do
    slices.look()
    local count = C.vf_explain_shadows(compiled.data, compiled.size, first, SOME_ROUTES, shadows)
    for i = 0, count - 1 do list[#list + 1] = { route = shadows[i].route + 1, by = shadows[i].by + 1 } end
  end
  compiler.give_back(compiled)
  local model = compiled.model
  last = { routes = model.inputs and model.inputs.routes, tenants = model.tenants, list = list }
  return list
end

local function plugins_of(route)
  local names = {}
  for i, instance in ipairs(rawget(route, "plugins") or {}) do names[i] = instance.name end
  return #names > 0 and (", and its plugins never run: " .. table.concat(names, ", ")) or ""
end

local function shadowed(model, shadow)
  local route, by = model.routes[shadow.route], model.routes[shadow.by]
  return { code = "shadowed_route", file = route._file, line = route._line, path = "",
    message = ("the route %s never answers%s: the route %s (%s:%d) matches first"):format(route.name,
      plugins_of(route), by.name, by._file, by._line) }
end

local function line_of(finding)
  local path = finding.path ~= "" and finding.path .. ": " or ""
  local place = finding.line and ("%s:%d"):format(finding.file, finding.line) or finding.file
  local code = finding.code and (" [%s]"):format(finding.code) or ""
  return ("%s: warning: %s%s%s"):format(place, path, finding.message, code)
end

--- Says what is allowed but hardly meant: what the conf itself warns of, and routes that can never answer.
-- @param more further findings, or nil
-- @return a line for each, FILE:LINE: warning: ... [CODE], and a list of {code, file, line, path, message}; what has no
-- code of its own has `note`
function M.warnings(model, compiled, more)
  local findings, lines, shown = {}, {}, {}
  for _, list in ipairs { model.warnings or {}, model.lint or {}, more or {} } do
    for _, warning in ipairs(list) do findings[#findings + 1] = warning end
  end
  for _, shadow in ipairs(M.shadows(compiled)) do findings[#findings + 1] = shadowed(model, shadow) end
  for i, finding in ipairs(findings) do
    lines[i] = line_of(finding)
    shown[i] = { code = finding.code or "note", file = finding.file, line = finding.line, path = finding.path,
      message = finding.message }
  end
  return lines, shown
end

return M
