--- The request's content: a form, a multipart body or a JSON object, changed and written again.
local pdk = require "veloflux.pdk"
local arguments = require "veloflux.plugins.request-transformer.arguments"
local members = require "veloflux.plugins.request-transformer.members"
local parts = require "veloflux.plugins.request-transformer.parts"
local plan = require "veloflux.plugins.request-transformer.plan"

local M = {}

local CODECS = { ["application/x-www-form-urlencoded"] = arguments, ["multipart/form-data"] = parts,
  ["application/json"] = members }

local function kind_of(content_type)
  local kind = content_type:match "^%s*([^;%s]+)"
  kind = kind and kind:lower()
  return kind and kind:find "^application/[^;]+%+json$" and "application/json" or kind
end

--- Says whether Content-Type is that of a form.
function M.is_form(content_type)
  return content_type ~= nil and kind_of(content_type) == "application/x-www-form-urlencoded"
end

--- Says whether a body of this type can be changed.
function M.can_change(content_type) return content_type ~= nil and CODECS[kind_of(content_type) or ""] ~= nil end

--- Takes the steps on a body.
-- @param texts see plan.take
-- @return the new body; nil when nothing changes; or nil and why the body is not what its type says
function M.transform(body, content_type, steps, texts)
  local codec = CODECS[kind_of(content_type)]
  if codec == parts and body == "" then return nil end
  if pdk.request.get_header "content-encoding" then return nil, "it is compressed" end
  local form = codec.parse(body, content_type)
  if not form then return nil, "it is not well-formed, or has too many parts" end
  plan.take(steps, form, texts)
  if not form.is_changed then return nil end
  local text = codec.format(form)
  if not text then return nil, "a value cannot stand in it" end
  return text
end

return M
