local origins = require "veloflux.plugins.cors.origins"

local TOKEN = "^[%w!#$%%&'*+.^_`|~-]+$"
local METHODS = { "GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE", "CONNECT" }

local function is_token(text)
  if text:find(TOKEN) then return true end
  return nil, "expected the name of a header field"
end

local function is_origin(text)
  local made, problem = origins.read(text)
  return made ~= nil, problem
end

local function names(order, description)
  return { type = "array", order = order, elements = { type = "string", custom_validator = is_token },
    description = description }
end

return {
  name = "cors",
  fields = { { config = { type = "record", fields = {
    { origins = { type = "array", order = 1, elements = { type = "string", custom_validator = is_origin },
      description = "Whose pages may read answers: origins like https://app.example.com, * for all, or patterns (PCRE) "
        .. "that match an origin as a whole; one without a colon is for the host. All, if not given." } },
    { methods = { type = "array", order = 2, default = METHODS, elements = { type = "string", one_of = METHODS },
      description = "The methods that pages may use (Access-Control-Allow-Methods)." } },
    { headers = names(3, "The header fields that pages may send (Access-Control-Allow-Headers); what they ask for, "
      .. "if not given.") },
    { exposed_headers = names(4, "The header fields of answers that pages may read (Access-Control-Expose-Headers).") },
    { credentials = { type = "boolean", default = false, order = 5,
      description = "Pages may send cookies and logins (Access-Control-Allow-Credentials)." } },
    { max_age = { type = "number", min = 0, order = 6, unit = "seconds",
      description = "How long a browser may keep what a preflight has told it (Access-Control-Max-Age)." } },
    { preflight_continue = { type = "boolean", default = false, order = 7,
      description = "Preflight requests are forwarded, not answered." } },
    { private_network = { type = "boolean", default = false, order = 8,
      description = "Pages of public sites may reach this one in a private network "
        .. "(Access-Control-Allow-Private-Network)." } },
    { allow_origin_absent = { type = "boolean", default = true, order = 9,
      description = "Answers to requests without Origin have the fields, too." } },
  } } } },
}
