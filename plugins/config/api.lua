--- The configuration as a document in and out, its versions, and the way back.
local pdk = require "veloflux.pdk"

local configuration, versions = pdk.configuration, pdk.versions

local MAX_VERSION, PAGE, MAX_PAGE = 2 ^ 53, 100, 500
local FORMATS = { json = "application/json", yaml = "application/yaml" }
local DOCUMENT = { "application/json", "application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml" }

-- Documents -----------------------------------------------------------------------------------------

local function export(request)
  local format = request.query.format
  if not request.wants(FORMATS[format]) then
    return pdk.problem.new("not_acceptable", ("This is answered as %s."):format(FORMATS[format]))
  end
  local text, problem = configuration.export(format, request.query.secrets == "masked")
  if not text then return problem end
  return 200, text, { ["Content-Type"] = FORMATS[format], ["Cache-Control"] = "no-store",
    ["Content-Disposition"] = ('attachment; filename="veloflux.%s"'):format(format),
    ["X-Content-Type-Options"] = "nosniff" }
end

local function empty_document()
  return pdk.problem.new("invalid", "The body is empty: it has to be a document.",
    { errors = { { pointer = "", detail = "required: a document" } } })
end

--- Answers a change of many entities.
local function changed(word, result, problem)
  if not result then return problem end
  result.status = result.dry_run and "dry_run" or word
  return 200, result
end

local function import(request)
  if request.body:size() == 0 then return empty_document() end
  return changed("imported", configuration.import(request.body, request.query.mode))
end

local function validate(request)
  if request.body:size() == 0 then return empty_document() end
  local result, problem = configuration.validate(request.body)
  if not result then return problem end
  result.status = result.valid and "valid" or "invalid"
  return 200, result
end

-- Versions ------------------------------------------------------------------------------------------

local function list(request)
  local limit, before = request.query.limit, request.query.cursor
  local found, problem = versions.list { limit = limit, before = before }
  if not found then return problem end
  local last = found[#found]
  local more = #found == limit and versions.list { limit = 1, before = last.version }
  if not more or #more == 0 then return 200, found end
  return 200, found, { Link = ('<%s?limit=%d&cursor=%d>; rel="next"'):format(request.path, limit, last.version) }
end

local function number_of(text)
  local number = text:match "^%d+$" and tonumber(text)
  return number and number >= 1 and number <= MAX_VERSION and number or nil
end

local function no_version(text) return pdk.problem.new("not_found", ("There is no version %s."):format(text)) end

local function get(request)
  local number = number_of(request.params.version)
  if not number then return no_version(request.params.version) end
  local found, problem = versions.get(number)
  if not found then return problem end
  return 200, found
end

local function rollback(request)
  local number = number_of(request.params.version)
  if not number then return no_version(request.params.version) end
  return changed("rolled_back", versions.rollback(number, { reason = request.body.reason }))
end

local function state_of(request, name)
  local text = request.query[name]
  if text == "running" or text == "file" then return text end
  local number = number_of(text)
  if number then return number end
  local detail = "expected the number of a version, running or file"
  return nil, pdk.problem.new("invalid", ("%s: %s"):format(name, detail),
    { errors = { { pointer = "?" .. name, parameter = name, detail = detail } } })
end

local function diff(request)
  local from, bad = state_of(request, "from")
  if not from then return bad end
  local to
  to, bad = state_of(request, "to")
  if not to then return bad end
  local found, problem = versions.diff(from, to)
  if not found then return problem end
  return 200, found
end

-- Endpoints -----------------------------------------------------------------------------------------

local function endpoint(method, path, permission, summary, handler, more)
  local definition = { method = method, path = "/api/config/" .. path, permission = "config:" .. permission,
    summary = summary, tag = "config", handler = handler }
  for name, value in pairs(more or {}) do definition[name] = value end
  return definition
end

return {
  endpoint("GET", "export", "export", "All entities as a document. Secrets stand there by reference, or sealed for "
    .. "this installation.", export, { response_type = { FORMATS.json, FORMATS.yaml }, query = {
      format = { type = "string", one_of = { "json", "yaml" }, default = "json" },
      secrets = { type = "string", one_of = { "sealed", "masked" }, default = "sealed", description = "masked: `*****` "
        .. "stands for what would be sealed; an import of that keeps the stored value." } } }),
  endpoint("POST", "import", "write", "Takes a document as one transaction.", import, { dry_run = true,
    request_type = DOCUMENT, max_body = "64m", timeout = "1h", query = {
      mode = { type = "string", one_of = { "merge", "replace" }, default = "merge",
        description = "merge: what it names is made or replaced; replace: the rest goes, too." } } }),
  endpoint("POST", "validate", "validate", "Judges a whole conf file, as `veloflux check` does.", validate,
    { request_type = DOCUMENT, max_body = "64m", timeout = "1h" }),
  endpoint("GET", "versions", "history", "The versions, the newest first.", list, { query = {
    limit = { type = "integer", between = { 1, MAX_PAGE }, default = PAGE, description = "Versions of a page." },
    cursor = { type = "integer", min = 1, max = MAX_VERSION, description = "Those before this version." } },
    answers = { [200] = "A page; the Link header leads to the next." } }),
  endpoint("GET", "versions/{version}", "history", "One version: author, source, time, reason, and what it changed.",
    get),
  endpoint("POST", "versions/{version}/rollback", "write", "Brings back what the store had in a version, as a new "
    .. "version. What the conf file has stays.", rollback, { dry_run = true, request_optional = true, timeout = "10m",
      request = { reason = { type = "string", len_min = 0, len_max = 1000 } } }),
  endpoint("GET", "diff", "history", "What is different between two states.", diff, { query = {
    from = { type = "string", default = "running", description = "The number of a version, running or file." },
    to = { type = "string", default = "file", description = "The same." } } }),
}
