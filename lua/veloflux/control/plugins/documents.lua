--- Content that may be too much for a text: bodies of requests and answers of plugins. Plugins get it as an object, to
-- read or to hand on, and write it piece by piece (pdk.document). What a run has made goes with it.
local contents = require "veloflux.content"
local encoding = require "veloflux.pdk.encoding"
local problem = require "veloflux.admin.problem"
local seam = require "veloflux.runtime.control"
local slices = require "veloflux.slices"

local M = {}

local MAX_READ = 1024 * 1024
local PIECE = 48 * 1024 -- that is read at once; a multiple of three, so that its Base64 goes on without padding

local held = setmetatable({}, { __mode = "k" }) -- document -> content (content.lua), false when it is gone

local Document = {}
Document.__index = Document
Document.__metatable = false

--- Returns what a document has; a text is one, too. Or nil and what is wrong.
local function find(document)
  if type(document) == "string" then return document end
  local content = held[document]
  if content then return content end
  return nil, content == nil and "expected a text or a document, such as the body of a request"
    or "the document is gone: it was sent, or what made it is over"
end

--- Returns what a document has, for services. Refuses what is none.
function M.content(document)
  local content, message = find(document)
  return content or seam.refuse(message)
end

--- The same for the methods of documents.
local function own(document)
  local content, message = find(document)
  return content or error(message, 3)
end

--- Says whether a value is a document.
function M.is(value) return type(value) == "table" and held[value] ~= nil end

--- Returns how many bytes it has.
function Document:size() return contents.size(own(self)) end

--- Returns it as a text. It counts as the plugin's memory.
function Document:text() return assert(contents.piece(own(self))) end

--- Returns a part of it as a text.
function Document:read(first, len)
  if type(first) ~= "number" or first < 0 or first % 1 ~= 0 then error("read: expected where to begin, from 0", 2) end
  if type(len) ~= "number" or len < 0 or len > MAX_READ then error("read: expected a length of at most 1 MiB", 2) end
  return assert(contents.piece(own(self), first, len))
end

--- Makes a document.
-- @param content of content.lua
-- @param of what runs, and ends it; nil: the content is the caller's to close
-- @return the document; nil when the run is over
function M.new(content, of)
  if of and of.is_over then return contents.close(content) end
  local self = setmetatable({}, Document)
  held[self] = content
  if of then
    of.documents = of.documents or {}
    table.insert(of.documents, self)
  end
  return self
end

--- Takes the content out of a document: the caller closes it. Returns nil and a message when it is gone.
function M.take(document)
  local content, message = find(document)
  held[document] = false
  return content, message
end

--- Ends what a run has made and not sent.
function M.close(of)
  for _, document in ipairs(of.documents or {}) do
    if held[document] then contents.close(M.take(document)) end
  end
  for _, writer in ipairs(of.writers or {}) do writer:drop() end
  of.documents, of.writers, of.is_over = nil, nil, true
end

--- Returns the problem of content that could not be written.
function M.refused(failure)
  if failure.code == "unavailable" then
    return problem.new("unavailable", "Other requests with much content are under way; try again.",
      { headers = { "Retry-After", "1" } })
  end
  return problem.new(failure.code, "There is no room on the disk for this content.")
end

--- Appends to a writer (content.lua). Returns true, or nil and a problem.
local function write(writer, text)
  local ok, failure = writer:write(text)
  if ok then return true end
  return nil, M.refused(failure)
end

local function append(writer, content, is_base64)
  for first = 0, contents.size(content) - 1, PIECE do
    slices.look()
    local text = assert(contents.piece(content, first, PIECE))
    local ok, bad = write(writer, is_base64 and encoding.base64_encode(text) or text)
    if not ok then return nil, bad end
  end
  return true
end

--- Adds the services.
-- @param folder function() -> where files without a name are
function M.register(folder)
  local services = seam.services
  function services.document_writer(of)
    local writer = contents.writer(folder())
    of.writers = of.writers or {}
    table.insert(of.writers, writer)
    return writer
  end
  services.document_write = write
  function services.document_append(writer, document, is_base64)
    return append(writer, M.content(document), is_base64)
  end
  function services.document_finish(of, writer)
    local content, failure = writer:finish()
    if not content then return nil, M.refused(failure) end
    return M.new(content, of)
  end
end

return M
