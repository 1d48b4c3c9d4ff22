--- What reads a document: the place where it is, and the problems found so far.
-- One reader serves a whole load, so that all problems come at once; `open` moves it to another
-- document. Paths are kept as a stack and made into text for a problem only.
local ffi = require "ffi"
local bit = require "bit"
local document = require "veloflux.model.document"
local expand = require "veloflux.model.expand"

local band, ffi_string = bit.band, ffi.string
local SCALAR, LIST, DOLLAR = document.SCALAR, document.LIST, document.DOLLAR
local MAX_QUOTED = 60 -- bytes of a value that a message repeats

local Reader = {}
Reader.__index = Reader

local M = {}

--- Makes a reader.
-- @param env function(name) -> string or nil: the environment for ${NAME}
-- @return a reader {problems, warnings, path, depth, ...}
function M.new(env)
  return setmetatable({ env = env, problems = {}, warnings = {}, path = {}, depth = 0 }, Reader)
end

--- Moves to the root of `doc`; relative paths in it are relative to the folder `dir`.
function Reader:open(doc, dir)
  self.document, self.nodes, self.texts = doc, doc.nodes, doc.texts
  self.file, self.dir, self.depth = doc.name, dir, 0
end

--- Lets go of the document.
function Reader:close() self.document, self.nodes, self.texts = nil, nil, nil end

--- Quotes a value for a message: control characters escaped, long ones cut.
function M.quote(text)
  if #text > MAX_QUOTED then text = text:sub(1, MAX_QUOTED) .. "..." end
  text = text:gsub("[%c\"\\]", function(c)
    if c == "\n" then return "\\n" end
    if c == '"' or c == "\\" then return "\\" .. c end
    return ("\\x%02x"):format(c:byte())
  end)
  return '"' .. text .. '"'
end

--- Says what stands at a node: "a list", "a map", "nothing" or the quoted text.
function Reader:describe(index)
  local node = self.nodes[index]
  if node.kind ~= SCALAR then return node.kind == LIST and "a list" or "a map" end
  if band(node.flags, document.NULL) ~= 0 then return "nothing" end
  return M.quote(ffi_string(self.texts + node.text, node.len))
end

--- Returns the path of the place where the reader is, such as pools[0].backends[2].weight.
function Reader:where()
  local parts = {}
  for depth = 1, self.depth do
    local step = self.path[depth]
    if type(step) == "number" then
      parts[#parts + 1] = "[" .. step .. "]"
    else
      parts[#parts + 1] = (#parts > 0 and "." or "") .. step
    end
  end
  return table.concat(parts)
end

--- Returns the same as a JSON Pointer (RFC 6901): /pools/0/backends/2/weight.
function Reader:pointer()
  local parts = {}
  for depth = 1, self.depth do
    parts[depth] = "/" .. tostring(self.path[depth]):gsub("~", "~0"):gsub("/", "~1")
  end
  return table.concat(parts)
end

--- Notes a problem at a node. Returns nil, so that a reader can end with it.
function Reader:fail(index, message, ...)
  return self:break_rule(nil, index, message, ...)
end

--- The same for a value that breaks the rule (an attribute of the schema) called `rule`.
function Reader:break_rule(rule, index, message, ...)
  if select("#", ...) > 0 then message = message:format(...) end
  self.problems[#self.problems + 1] = { file = self.file, line = self.nodes[index].line, path = self:where(),
    pointer = self:pointer(), message = message, rule = rule }
  return nil
end

--- Notes what is allowed but should not stay so.
function Reader:warn(index, message, ...)
  if select("#", ...) > 0 then message = message:format(...) end
  self.warnings[#self.warnings + 1] = { file = self.file, line = self.nodes[index].line, path = self:where(),
    pointer = self:pointer(), message = message }
end

--- Notes a problem that the caller has located.
function Reader:note(file, line, path, message)
  self.problems[#self.problems + 1] = { file = file, line = line, path = path, message = message }
end

--- Returns the expanded text of a scalar, or nil after noting that `expected` was expected.
function Reader:text(index, expected)
  local node = self.nodes[index]
  if node.kind ~= SCALAR then
    return self:break_rule("type", index, "expected %s, got %s", expected, self:describe(index))
  end
  local text = ffi_string(self.texts + node.text, node.len)
  if band(node.flags, DOLLAR) == 0 then return text end
  local expanded, problem = expand.expand(text, self.env)
  if not expanded then return self:fail(index, "%s", problem) end
  return expanded
end

--- Returns true when nothing stands at the node (null, or an empty plain scalar).
function Reader:is_null(index)
  return band(self.nodes[index].flags, document.NULL) ~= 0
end

return M
