--- Content that may be too much for memory: bodies of requests to endpoints with `max_body`, and what a plugin writes
-- piece by piece to answer it or to hand it on.
--
--     local writer = pdk.document.writer()
--     for _, pool in ipairs(pdk.model.list "pools") do writer:write(pool.name .. "\n") end
--     local document, problem = writer:finish()
--     if not document then return problem end
--     return 200, document, { ["Content-Type"] = "text/csv" }
--
-- A document is in memory while it is small, and in a file without a name otherwise; it is sent as the client takes it.
-- It lasts as long as the handler or the job that has made it. An answer that is in a file is not kept for an
-- Idempotency-Key: who repeats the request has it made again.
-- May be called in control only: in the functions of api.lua and jobs.lua.
local control = require "veloflux.runtime.control"

---@class pdk.document
local M = {}

---@class pdk.document.content
---@field size fun(self): integer bytes
---@field text fun(self): string all of it; it counts as the plugin's memory
---@field read fun(self, first: integer, len: integer): string a part, from 0 on; at most 1 MiB

---@class pdk.document.writer
local Writer = {}
Writer.__index = Writer
Writer.__metatable = false

local writers = setmetatable({}, { __mode = "k" }) -- object -> the core's

local function own(writer, name)
  control.current("document." .. name)
  return writers[writer] or error(name .. ": expected a writer", 3)
end

--- Begins a document. At most four that do not fit into memory may be under way at a time, those that are being sent
--- included.
---@return pdk.document.writer
function M.writer()
  local of = control.current "document.writer"
  if control.in_between then error("document.writer: functions of channels have no documents", 2) end
  local writer = setmetatable({}, Writer)
  writers[writer] = control.at_once("document_writer", of)
  return writer
end

--- Appends a text.
---@param text string
---@return true? ok
---@return pdk.problem.document? problem unavailable: too much is under way; insufficient_storage: the disk is full.
--- Then the rest fails, too
function Writer:write(text)
  local writer = own(self, "write")
  if type(text) ~= "string" then error("write: expected a text, got a " .. type(text), 2) end
  return control.at_once("document_write", writer, text)
end

--- Appends another document. It waits when that is long.
---@async
---@param document string|pdk.document.content
---@param encoding? "base64" as it is when left out
---@return true? ok
---@return pdk.problem.document? problem
function Writer:append(document, encoding)
  local writer = own(self, "append")
  if encoding ~= nil and encoding ~= "base64" then error("append: expected base64 or nothing as encoding", 2) end
  return control.call("document_append", writer, document, encoding == "base64")
end

--- Ends the document.
---@return pdk.document.content? document
---@return pdk.problem.document? problem
function Writer:finish()
  local writer = own(self, "finish")
  return control.at_once("document_finish", control.current "document.finish", writer)
end

return M
