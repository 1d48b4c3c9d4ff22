local expression = require "veloflux.plugins.request-transformer.expression"

local TOKEN = "^[%w!#$%%&'*+.^_`|~-]+$"
local METHODS = { "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY", "ACL", "BIND", "CHECKOUT",
  "COPY", "LINK", "LOCK", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MOVE", "NOTIFY", "PROPFIND", "PROPPATCH",
  "PURGE", "REBIND", "REPORT", "SEARCH", "SUBSCRIBE", "UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE" }

local function check_text(text)
  local parts, problem = expression.compile(text)
  if parts then return true end
  return nil, problem
end

local function check_header_name(name)
  if not name:find(TOKEN) then return nil, "expected the name of a header field" end
  return true
end

local function check_other_header(name)
  if name:lower() == "host" then return nil, "the host can be replaced, and nothing else" end
  return check_header_name(name)
end

local function split(entry)
  local name, value = entry:match "^([^:]+):*(.-)$"
  if not name or not entry:find(":", 1, true) then return nil, nil, "expected NAME:VALUE" end
  return name, value
end

--- Makes a check of NAME:VALUE.
local function pair_check(check_name, check_value)
  return function(entry)
    local name, value, problem = split(entry)
    if not name then return nil, problem end
    local ok
    ok, problem = check_name(name)
    if not ok then return nil, problem end
    return check_value(value)
  end
end

local function anything() return true end

local function check_new_name(name)
  if name == "" then return nil, "expected OLD:NEW" end
  return true
end

local function check_header_value(value)
  if value:find "[%z\1-\8\10-\31\127]" then return nil, "has characters that a header field cannot have" end
  return check_text(value)
end

local function list(check, description)
  return { type = "array", default = {}, elements = { type = "string", custom_validator = check },
    description = description }
end

local function operation(order, what, headers, others, more)
  local fields = {
    headers = list(headers, ("Header fields %s."):format(what)),
    querystring = list(others, ("Arguments of the query %s."):format(what)),
    body = list(others, ("Members of a JSON object, or fields of a form, %s."):format(what)),
  }
  for name, field in pairs(more or {}) do fields[name] = field end
  return { type = "record", required = true, order = order, fields = fields }
end

local PAIR = pair_check(anything, check_text)

return {
  http_method = { type = "string", one_of = METHODS, order = 1,
    description = "The method that the backend gets. HEAD stays HEAD." },
  remove = operation(2, "that are removed", check_other_header, nil),
  rename = operation(3, "that get another name, as OLD:NEW", pair_check(check_other_header, check_other_header),
    pair_check(anything, check_new_name)),
  replace = operation(4, "that get another value if they are there, as NAME:VALUE",
    pair_check(check_header_name, check_header_value), PAIR,
    { uri = { type = "string", match = "^[/$]", err = "expected a path that begins with / or a place to fill in",
      custom_validator = check_text, description = "The path that the backend gets, without query." } }),
  add = operation(5, "that are added unless they are there, as NAME:VALUE",
    pair_check(check_other_header, check_header_value), PAIR),
  append = operation(6, "that are added in any case, as NAME:VALUE",
    pair_check(check_other_header, check_header_value), PAIR),
  invalid_body = { type = "string", one_of = { "forward", "reject" }, default = "forward", order = 7,
    description = "What becomes of a body that is not what its Content-Type says: it is forwarded as it is, or the "
      .. "request is answered with 400." },
}
