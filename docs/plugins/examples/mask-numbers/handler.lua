--- Masks long numbers (of cards, say) in texts on their way to the client.
local pdk = require "veloflux.pdk"

local Plugin = { PRIORITY = 500, VERSION = "1.0.0" }

local function mask(digits) return ("*"):rep(#digits - 4) .. digits:sub(-4) end

function Plugin:header_filter()
  local kind = pdk.response.get_header "content-type" or ""
  pdk.ctx.plugin.is_text = kind:find("^text/") ~= nil or kind:find("json", 1, true) ~= nil
end

function Plugin:body_filter(conf)
  if not pdk.ctx.plugin.is_text then return end -- goes through untouched
  local body = pdk.response.get_raw_body() -- nil until the last piece: a number may lie across two
  if body then
    pdk.response.set_raw_body((body:gsub(("%d"):rep(conf.digits) .. "+", mask)))
  end
end

return Plugin
