--- What becomes of the outcome of a transaction (control/transactions.lua) on the way to the client.
local conf = require "veloflux.conf"
local duration = require "veloflux.model.duration"
local json = require "veloflux.pdk.json"
local problem = require "veloflux.admin.problem"

local M = {}

--- Returns how many processes do not run the new version yet.
function M.laggards(result)
  local laggards = result.laggards
  if type(laggards) == "table" then return #laggards end
  return tonumber(laggards) or 0
end

--- Returns the headers of the answer to a write as {name, value, ...}.
function M.headers(result)
  local headers = {}
  if result.version then headers = { "VeloFlux-Version", ("%d"):format(result.version) } end
  if result.probation then
    headers[#headers + 1] = "VeloFlux-Probation"
    headers[#headers + 1] = duration.format(result.probation.ms)
  end
  local count = M.laggards(result)
  if count > 0 then
    headers[#headers + 1] = "VeloFlux-Laggards"
    headers[#headers + 1] = tostring(count)
  end
  return headers
end

--- Marks what are lists, so that empty ones are shown as such.
local function marked(diff)
  for _, entity in ipairs(diff) do json.array(entity.changes) end
  return json.array(diff)
end
M.diff = marked

--- Returns what a configuration warns of, by code: list of {code, detail, path, source = FILE:LINE}.
function M.findings(result)
  local list = json.array()
  for i, found in ipairs(result.findings or {}) do
    list[i] = { code = found.code or "note", detail = found.message, path = found.path,
      source = found.line and ("%s:%d"):format(found.file, found.line) or found.file }
  end
  return list
end

--- Returns what a configuration warns of, as texts.
function M.texts(warnings)
  local list = json.array()
  for i, value in ipairs(warnings or {}) do
    list[i] = type(value) == "table" and value.message and conf.format(value) or value
  end
  return list
end

local function without_others(text, tenant)
  return text and (text:gsub("the tenant ([%w._-]+)", function(name)
    return name ~= tenant and "another tenant" or nil
  end))
end

--- Returns an outcome as a tenant's own user may see it: without what is found in the conf file and in what is others'.
-- @param tenant nil: of who may see all
function M.within(result, tenant)
  if not tenant then return result end
  local copy, findings, errors = {}, {}, {}
  for name, value in pairs(result) do copy[name] = value end
  for _, found in ipairs(result.findings or {}) do
    if (found.file or ""):match "^api:[^/]+/([^/]+)/" == tenant then findings[#findings + 1] = found end
  end
  for i, found in ipairs(result.errors or {}) do
    errors[i] = {}
    for name, value in pairs(found) do errors[i][name] = value end
    errors[i].detail = without_others(found.detail, tenant)
  end
  copy.findings, copy.warnings = findings, M.texts(findings)
  copy.errors, copy.message = result.errors and errors, without_others(result.message, tenant)
  return copy
end

--- Returns what a change of many entities has done, or would do.
function M.changed(result, is_dry)
  local counts = result.counts
  local told = { dry_run = is_dry, version = not is_dry and result.version or nil,
    changes = { added = counts.added, updated = counts.changed, removed = counts.removed }, summary = result.summary,
    skipped = json.array(result.skipped or {}), warnings = M.texts(result.warnings), findings = M.findings(result),
    diff = marked(result.diff) }
  if is_dry then
    told.affected_routes, told.affected_count = json.array(result.affected_routes or {}), result.affected_count
  end
  return told
end

--- Answers a dry run: what would change.
function M.dry(result, headers)
  return { headers = headers, json = { dry_run = true, diff = marked(result.diff or {}), summary = result.summary,
    affected_routes = json.array(result.affected_routes or {}), affected_count = result.affected_count or 0,
    warnings = json.array(result.warnings or {}), findings = M.findings(result) } }
end

--- Answers a dry run of a change to one thing that is no entity.
-- @param action "added", "changed" or "removed"
-- @param change {pointer, before, after}: of a part of it, or with no pointer of the whole; nil: of nothing
-- @param more further members of the answer, or nil
function M.would(kind, action, name, change, more)
  local diff, summary = {}, "no changes"
  if change then
    change.pointer = change.pointer or ""
    diff[1] = { action = action, kind = kind, key = name, name = name, changes = { change } }
    summary = ("%s: 1 %s"):format(kind, action)
  end
  local answer = M.dry { diff = diff, summary = summary }
  for member, value in pairs(more or {}) do answer.json[member] = value end
  return answer
end

-- Codes of transactions, as the API says them; anything else is a fault of ours.
local CODES = { invalid = "invalid", not_found = "not_found", exists = "exists", conflict = "conflict",
  stale = "stale", owned = "owned", unavailable = "unavailable", referenced = "referenced", fenced = "unavailable",
  insufficient_storage = "insufficient_storage" }

--- Answers a refusal.
-- @param prefix of pointers to what the request was about within its entity, or nil
function M.refused(result, prefix)
  local code = CODES[result.code] or "internal_error"
  local errors = {}
  for i, found in ipairs(result.errors or {}) do
    local pointer = found.pointer or ""
    if prefix and pointer:sub(1, #prefix) == prefix then pointer = pointer:sub(#prefix + 1) end
    errors[i] = { pointer = pointer, detail = found.detail, rule = found.rule }
  end
  local members = { source = result.source, rival = result.rival }
  local headers = code == "unavailable" and { "Retry-After", "1" } or nil
  return problem.new(code, result.message or "This was refused.", { errors = errors, members = members,
    headers = headers })
end

return M
