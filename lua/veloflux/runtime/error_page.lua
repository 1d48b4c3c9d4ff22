--- What plugins' error answers say, in the form that the client accepts: JSON, HTML, XML or text.
local M = {}

local MESSAGES = { [400] = "Bad request", [401] = "Unauthorized", [402] = "Payment required", [403] = "Forbidden",
  [404] = "Not found", [405] = "Method not allowed", [406] = "Not acceptable", [407] = "Proxy authentication required",
  [408] = "Request timeout", [409] = "Conflict", [410] = "Gone", [411] = "Length required",
  [412] = "Precondition failed", [413] = "Payload too large", [414] = "URI too long", [415] = "Unsupported media type",
  [416] = "Range not satisfiable", [417] = "Expectation failed", [418] = "I'm a teapot", [421] = "Misdirected request",
  [422] = "Unprocessable entity", [423] = "Locked", [424] = "Failed dependency", [425] = "Too early",
  [426] = "Upgrade required", [428] = "Precondition required", [429] = "Too many requests",
  [431] = "Request header fields too large", [451] = "Unavailable for legal reasons",
  [494] = "Request header or cookie too large", [500] = "An unexpected error occurred", [501] = "Not implemented",
  [502] = "An invalid response was received from the upstream server",
  [503] = "The upstream server is currently unavailable", [504] = "The upstream server is timing out",
  [505] = "HTTP version not supported", [506] = "Variant also negotiates", [507] = "Insufficient storage",
  [508] = "Loop detected", [510] = "Not extended", [511] = "Network authentication required" }

--- Returns what is said of a status when the plugin says nothing.
function M.message(status)
  return MESSAGES[status] or ("The upstream server responded with %d"):format(status)
end

local function encode(value) return require("veloflux.pdk.json").encode(value) end

local function text_of(message) return type(message) == "table" and encode(message) or message end

local ESCAPES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }
local function escape(message) return (text_of(message):gsub('[&<>"]', ESCAPES)) end

local function json(message, id) return encode { message = message, request_id = id } end

local function html(message, id)
  return "<!doctype html><html><head><meta charset=\"utf-8\"><title>Error</title></head><body><h1>Error</h1><p>" ..
    escape(message) .. ".</p><p>request_id: " .. escape(id) .. "</p></body></html>\n"
end

local function xml(message, id)
  return '<?xml version="1.0" encoding="UTF-8"?>\n<error><message>' .. escape(message) .. "</message><requestid>" ..
    escape(id) .. "</requestid></error>\n"
end

local function plain(message, id) return ("%s\nrequest_id: %s\n"):format(text_of(message), id) end

local FORMATS = { -- the first is the one without a wish
  { "application/json", json }, { "text/html", html }, { "application/xml", xml }, { "text/plain", plain },
}

local WRITERS = {}
for _, format in ipairs(FORMATS) do WRITERS[format[1]] = format[2] end

--- What is written for a range of media types.
local RANGES = { ["application/*"] = "application/json", ["text/*"] = "text/plain" }

--- Picks the first format of Accept that we write; weights decide (RFC 9110 section 12.5.1).
local function accepted(accept)
  local best, best_weight = FORMATS[1][1], 0
  for range in (accept or ""):gmatch "[^,]+" do
    local kind = (range:match "^%s*([^;%s]+)" or ""):lower()
    local weight = tonumber(range:match ";%s*q=([%d.]+)") or 1
    kind = RANGES[kind] or kind
    if WRITERS[kind] and weight > best_weight then best, best_weight = kind, weight end
  end
  return best
end

--- Writes an error answer.
-- @param message text, or a table: an object where the form is JSON, its text in the others
-- @param id the request's
-- @param content_type the one that the plugin has set, or nil
-- @param accept the request's Accept, or nil
-- @return content, and its Content-Type
function M.write(message, id, content_type, accept)
  if not content_type then
    local kind = accepted(accept)
    return WRITERS[kind](message, id), kind .. "; charset=utf-8"
  end
  local kind = content_type:match("^%s*([^;%s]*)"):lower()
  return (WRITERS[kind] or kind:find "%+json$" and json or plain)(message, id), content_type
end

return M
