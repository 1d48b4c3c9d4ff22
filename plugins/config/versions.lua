--- The versions of the configuration, what is different between them, and the way back.
local pdk = require "veloflux.pdk"
local endpoint = require "veloflux.plugins.config.endpoint"

local versions = pdk.versions

local MAX_VERSION, MAX_PAGE, MAX_ITEMS = 2 ^ 53 - 1, 500, 10000
local FIELDS = { "version", "time", "author", "source", "reason", "request_id", "summary" }

local function refuse(name, detail)
  return pdk.problem.new("invalid", ("%s: %s"):format(name, detail),
    { errors = { { pointer = "?" .. name, parameter = name, detail = detail } } })
end

--- Returns all versions, the newest first; or nil and a problem: there are too many.
local function all_versions()
  local all, before = pdk.json.array {}, nil
  while true do
    local found, problem, total = versions.list { limit = MAX_PAGE, before = before }
    if not found then return nil, problem end
    if total > MAX_ITEMS then
      return nil, refuse("limit", ("needed, without filters and sort: there are %d versions"):format(total))
    end
    for _, version in ipairs(found) do all[#all + 1] = version end
    if #found < MAX_PAGE then return all end
    before = found[#found].version
  end
end

--- A page that no filter and no order was asked for: only its versions are read.
local function page(request, limit, before)
  local found, problem, total = versions.list { limit = limit, before = before }
  if not found then return problem end
  local last = found[#found]
  local more = last and #found == limit and versions.list { limit = 1, before = last.version }
  local headers = { ["X-Total-Count"] = ("%d"):format(total) }
  if more and #more > 0 then
    headers.Link = ('<%s?limit=%d&cursor=%d>; rel="next"'):format(request.path, limit, last.version)
  end
  return 200, found, headers
end

local number_of

local function list(request)
  local query = request.query
  local is_plain = query.limit ~= nil
  for _, name in ipairs { "sort", "page", unpack(FIELDS) } do is_plain = is_plain and query[name] == nil end
  local before = query.cursor and number_of(query.cursor)
  if is_plain and query.cursor and not before then return refuse("cursor", "expected what Link said") end
  if is_plain then return page(request, query.limit, before) end
  local all, problem = all_versions()
  if not all then return problem end
  return request.list(all, FIELDS, "-version")
end

function number_of(text)
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
  return endpoint.changed("rolled_back", versions.rollback(number, { reason = request.body.reason }))
end

--- Makes the handler of an endpoint that ends a probation.
local function ending(word)
  return function(request)
    local number = number_of(request.params.version)
    if not number then return no_version(request.params.version) end
    local ended, problem = versions[word](number)
    if not ended then return problem end
    if request.dry_run then ended.status = "dry_run" end
    return 200, ended
  end
end

local JSON = "application/json"
local ENDING = { timeout = "10m", dry_run = true, probation = false, openapi = { is_body_optional = true,
  parameters = {}, may_be_tried = true,
  body = { [JSON] = { type = "object", additionalProperties = false } },
  answers = { ["200"] = { "How it has ended.", { [JSON] = { type = "object" } } },
    ["409"] = { "It is not on probation." } } } }

local QUERY = {
  limit = { type = "integer", between = { 1, MAX_PAGE }, description = "Versions of a page; all when left out." },
  cursor = { type = "string", description = "Where the page begins: from the Link header of the one before." },
  page = { type = "integer", min = 1, description = "The number of a page, instead of a cursor." },
  sort = { type = "string", description = "Fields, separated by commas; a minus before one turns its order." },
}
for _, name in ipairs(FIELDS) do
  QUERY[name] = { type = "string", len_min = 0, description = ("Only those whose `%s` is this."):format(name) }
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

return {
  endpoint.new("GET", "versions", "history", "The versions, the newest first.", list, { query = QUERY,
    openapi = { answers = { ["200"] = { "The list; the Link header of a page leads to the next.",
      { [JSON] = { type = "array", items = { type = "object" } } } } } } }),
  endpoint.new("GET", "versions/{version}", "history", "One version: author, source, time, reason, and what it "
    .. "changed.", get),
  endpoint.new("POST", "versions/{version}/rollback", "write", "Brings back what the store had in a version, as a new "
    .. "version. What the conf file has stays.", rollback, { dry_run = true, request_optional = true, timeout = "10m",
      request = { reason = { type = "string", len_min = 0, len_max = 1000 } } }),
  endpoint.new("POST", "versions/{version}/confirm", "write", "Ends the probation of a version: it stays.",
    ending "confirm", ENDING),
  endpoint.new("POST", "versions/{version}/reject", "write", "Ends the probation of a version: what it changed is "
    .. "taken back now, by a new version.", ending "reject", ENDING),
  endpoint.new("GET", "diff", "history", "What is different between two states.", diff, { query = {
    from = { type = "string", default = "running", description = "The number of a version, running or file." },
    to = { type = "string", default = "file", description = "The same." } } }),
}
