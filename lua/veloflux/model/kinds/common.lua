--- What several kinds of entities have in common.
local s = require "veloflux.model.schema"

local M = {}

--- The name of an entity: it stands in URLs, metrics and log lines.
function M.name(what)
  return s.string { required = true, match = "^[%w][%w._-]*$", len_max = 128,
    expects = "a name of letters, digits, dots, dashes and underscores",
    description = ("Unique among the %s of its tenant."):format(what) }
end

function M.tenant()
  return s.foreign { reference = "tenants", default = "default", description = "Whose it is." }
end

--- A host that routes and tenants name: a.example.com, *.example.com or *.
function M.is_host(text)
  if text == "*" then return true end
  if #text < 64 and text:find "^[%l%d][%l%d.-]*$" and not text:find("..", 1, true) then return true end -- most
  local name = text:lower():gsub("^%*%.", "", 1)
  if name:find "^%[[%x:.]+%]$" then return true end
  if #name > 253 or name == "" or name:find("..", 1, true) or name:find "^%." or name:find ":" then return nil end
  for label in name:gmatch "[^.]+" do
    if #label > 63 or not label:find "^[%w_-]+$" then return nil end
  end
  return true
end

local function check_host(text)
  if M.is_host(text) then return true end
  if text:find ":%d+$" then return nil, "expected a host without a port" end
  return nil, "expected a host like a.example.com, *.example.com or *"
end

function M.host(attr)
  attr.custom_validator, attr.expects = check_host, "a host like a.example.com, *.example.com or *"
  return s.string(attr)
end

--- Concatenates lists of fields.
function M.join(...)
  local all = {}
  for _, fields in ipairs { ... } do
    for _, field in ipairs(fields) do all[#all + 1] = field end
  end
  return all
end

return M
