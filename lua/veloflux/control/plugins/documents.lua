--- Content of requests that may be too much for a text: plugins get it as an object to hand on, or to read.
local spools = require "veloflux.admin.spool"

local M = {}

local contents = setmetatable({}, { __mode = "k" }) -- document -> a text, or a spool (admin/spool.lua)

local Document = {}
Document.__index = Document
Document.__metatable = false

--- Returns how many bytes it has.
function Document:size()
  local content = contents[self]
  return type(content) == "string" and #content or content.len
end

--- Returns it as a text. It counts as the plugin's memory.
function Document:text()
  local content = contents[self]
  return type(content) == "string" and content or spools.text(content)
end

--- Makes a document.
-- @param content a text, or a spool, which lives as long as the request
function M.new(content)
  local self = setmetatable({}, Document)
  contents[self] = content
  return self
end

--- Returns what a document has; a text is one, too.
function M.content(document)
  if type(document) == "string" then return document end
  return contents[document] or error("expected a text, or the body of a request", 0)
end

return M
