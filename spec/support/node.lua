--- Node.js as a peer: its http2 module, and packages of npm where they are installed.
local uv = require "luv"
local process = require "support.process"

local M = {}

local function find(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

--- True when there is a Node.js here.
M.is_there = find "/usr/bin/node"

--- Runs a script until its scope ends; it prints "ready WORDS" when it is.
-- @param script JavaScript
-- @param args list of strings or nil: process.argv from [2] on, after "-"
-- @return process, the words
function M.start(script, args)
  local all = { "-e", script, "--" }
  for _, arg in ipairs(args or {}) do all[#all + 1] = arg end
  local child = process.spawn("/usr/bin/node", all)
  local line = child:wait_line(child.stdout, "^ready ?(.*)")
  if not line[2] then error("node ended: " .. table.concat(child.stderr, "\n"), 2) end
  return child, line[2]
end

--- The folder of a package of npm that scripts/npm.sh has installed; nil when it is not there.
function M.package(name)
  local folder = "build/npm/node_modules/" .. name
  if not (M.is_there and find(folder .. "/package.json")) then return nil end
  return uv.cwd() .. "/" .. folder
end

--- Runs a script to its end. Returns what it printed; an exit that is not 0 is an error.
function M.run(script, args)
  local all = { "-e", script, "--" }
  for _, arg in ipairs(args or {}) do all[#all + 1] = arg end
  local code, out, err = process.run("/usr/bin/node", all)
  if code ~= 0 then error(("node ended with %d: %s"):format(code, err), 2) end
  return out
end

return M
