--- The certificates of this node: until when they are good, for /metrics, /health and the log.
local alarms = require "veloflux.control.alarms"
local certificate = require "veloflux.model.kinds.certificate"
local link = require "veloflux.control.link"
local prometheus = require "veloflux.admin.prometheus"
local x509 = require "veloflux.x509"

local M = {}

local WATCH_MS = 12 * 3600 * 1000

local current -- function() -> {model}

--- Returns the certificates of a model: list of {name, tenant, facts}. Those that stand on a listener itself are called
-- LISTENER[N].
function M.of(model)
  local list = {}
  for _, record in ipairs(model.certificates) do
    local name = record.tenant == "default" and record.name or record.tenant .. "/" .. record.name
    list[#list + 1] = { name = name, facts = certificate.facts(record) }
  end
  for _, listener in ipairs(model.node.listeners) do
    for i, own in ipairs(listener.tls and listener.tls.certificates or {}) do
      if type(own) == "table" then
        list[#list + 1] = { name = ("%s[%d]"):format(listener.name, i - 1), facts = certificate.facts(own) }
      end
    end
  end
  return list
end

local function now_of_model()
  local model = current and current() and current().model
  return model and M.of(model) or {}
end

--- Returns what is wrong, or soon will be: list of {name, code, message}.
-- @param list of `of`
-- @param now seconds of the wall clock
function M.lint(list, now)
  local found = {}
  for _, own in ipairs(list) do
    for _, problem in ipairs(x509.lint(own.facts, now)) do
      found[#found + 1] = { name = own.name, code = problem.code, message = problem.message }
    end
  end
  return found
end

local SERIOUS = { certificate_expired = true, certificate_not_yet_valid = true }

--- Returns the component of /health.
function M.component()
  local list = now_of_model()
  local found = M.lint(list, os.time())
  local component = { ok = true, total = #list, message = ("%d certificates"):format(#list) }
  if #found > 0 then
    local messages = {}
    for i, problem in ipairs(found) do
      messages[i] = ("%s: %s"):format(problem.name, problem.message)
      if SERIOUS[problem.code] then component.ok = false end
    end
    component.message = table.concat(messages, "; ")
  end
  return component
end

--- Adds the families of /metrics.
function M.add(exposition)
  local ends = exposition:family("veloflux_certificate_expiry_timestamp_seconds", "gauge",
    "When the first certificate of a chain ends, in seconds of the wall clock.")
  for _, own in ipairs(now_of_model()) do
    ends:add(prometheus.labels { "name", own.name }, own.facts.chain_not_after)
  end
end

local function watch()
  for _, found in ipairs(M.lint(now_of_model(), os.time())) do
    link.log("warn", "certificate.warning", ("%s: %s"):format(found.name, found.message), 0)
  end
  alarms.after(WATCH_MS, watch)
end

--- What the certificates are is asked of context.current() -> {model}, or nil, from here on.
function M.attach(context) current = context.current end

--- From here on the log says twice a day what is wrong with them.
function M.watch() alarms.after(WATCH_MS, watch) end

return M
