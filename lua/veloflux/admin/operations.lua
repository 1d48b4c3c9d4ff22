--- What operators do to the node as a whole: draining it.
local bodies = require "veloflux.admin.body"
local cluster = require "veloflux.cluster"
local ffi = require "ffi"
local json = require "veloflux.pdk.json"
local log = require "veloflux.admin.log"
local parameters = require "veloflux.admin.parameters"
local problem = require "veloflux.admin.problem"
local totals = require "veloflux.totals"

ffi.cdef [[
void vf_control_stop_node(void);
]]
local C = ffi.C

local M = {}

local function described(word)
  return { status = word, dry_run = word == "dry_run" or nil, node_id = cluster.id() or json.null,
    active_connections = totals.number(totals.node().connections) }
end

local function drain(request)
  local body, refused = bodies.object(request, { "confirm" }, true)
  if not body then return refused end
  if body.confirm ~= nil and body.confirm ~= true then
    return problem.new("invalid", "confirm: expected true",
      { errors = { { pointer = "/confirm", detail = "expected true" } } })
  end
  local is_dry, bad = parameters.flag(request, "dry_run")
  if bad then return bad end
  if is_dry then return { json = described "dry_run" } end
  log.write("warn", "admin.drain", { "by", request.identity.name, "client", request.client,
    "request_id", request.request_id })
  C.vf_control_stop_node()
  return { json = described "draining" }
end

local CONFIRM = { ["application/json"] = { type = "object", additionalProperties = false,
  properties = { confirm = { type = "boolean" } } } }

--- Registers all of them.
-- @param context as for endpoints.register
function M.register(router, context)
  local function add(method, path, permission, handler, doc)
    router:register { method = method, path = path, permission = permission, doc = doc,
      handler = parameters.taking({ "dry_run" }, function(request) return handler(request, context) end) }
  end
  add("POST", "/api/system/drain", "system:drain", drain, { tag = "system", body = CONFIRM, is_body_optional = true,
    may_be_tried = true,
    summary = "Finishes what is under way and ends the node, as SIGTERM does." })
end

return M
