--- Where things stand in the document of a conf file (model/document.lua).
local document = require "veloflux.model.document"

local M = {}

--- Returns the node at a list of keys and positions (from 1), or the deepest that is there.
function M.locate(doc, path)
  local at = 0
  for _, step in ipairs(path) do
    local found
    if type(step) == "string" then
      found = document.find(doc, at, step)
    else
      found = doc.nodes[at].first
      for _ = 2, step do found = found ~= 0 and doc.nodes[found].next or 0 end
    end
    if not found or found == 0 then return at end
    at = found
  end
  return at
end

--- Returns such a list as text: "pools[0].name".
function M.text(path)
  local text = ""
  for _, step in ipairs(path) do
    text = text .. (type(step) == "number" and ("[%d]"):format(step - 1) or (text ~= "" and "." or "") .. step)
  end
  return text
end

--- Returns which element (from 0) of the list `kind` a node is.
function M.position(doc, kind, node)
  local list = document.find(doc, 0, kind)
  local at, position = doc.nodes[list].first, 0
  while at ~= 0 and at ~= node do at, position = doc.nodes[at].next, position + 1 end
  return position
end

return M
