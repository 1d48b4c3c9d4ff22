--- The status page: one HTML document, with its script and its style.
local embedded = require "veloflux.embedded"
local json = require "veloflux.pdk.json"

local M = {}

local ASSETS = {
  ["/assets/status.js"] = { "veloflux/admin/status.js", "text/javascript; charset=utf-8" },
  ["/assets/status.css"] = { "veloflux/admin/status.css", "text/css; charset=utf-8" },
}

--- The headers of its answer: list of name and value.
M.HEADERS = {
  "Content-Type", "text/html; charset=utf-8",
  "Cache-Control", "no-store",
  "Vary", "Accept",
  "Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    .. "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "X-Content-Type-Options", "nosniff",
  "X-Frame-Options", "DENY",
  "Referrer-Policy", "no-referrer",
}

local HTML_ESCAPES = { ["<"] = "\\u003c", [">"] = "\\u003e", ["&"] = "\\u0026" }

--- Returns the page. It carries its first data as a JSON block, which the policy does not execute. Without any it asks
-- for them itself, and the browser for credentials.
-- @param document what GET /api/status answers, or json.null
function M.html(document)
  local data = json.lenient(document):gsub("[<>&]", HTML_ESCAPES)
  local before, after = embedded.asset("veloflux/admin/status.html"):match "^(.-)%${DATA}(.*)$"
  return before .. data .. after
end

--- Registers what belongs to it.
function M.register(router)
  for path, asset in pairs(ASSETS) do
    router:register { method = "GET", path = path, open = true, handler = function()
      return { status = 200, body = embedded.asset(asset[1]), headers = { "Content-Type", asset[2],
        "Cache-Control", "no-cache", "X-Content-Type-Options", "nosniff" } }
    end }
  end
end

return M
