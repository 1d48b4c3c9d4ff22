--- The log of a gateway: what a running one would write, line by line.
local ffi = require "ffi"
local cjson = require "cjson"
local native = require "veloflux.kit.native"

local M = {}

local out = ffi.new "const char *[1]"

-- A line that is too long is cut, and then no JSON.
local function parse(line)
  local ok, entry = pcall(cjson.decode, line)
  if ok and type(entry) == "table" then return entry end
  return { level = line:match '"level":"(%a+)"', event = line:match '"event":"([^"]+)"', message = line }
end

--- Appends what was logged since the last call to a list.
-- @param kit struct vf_kit *
function M.collect(kit, list)
  local len = tonumber(native.C.vf_kit_log(kit, out))
  for line in ffi.string(out[0], len):gmatch "[^\n]+" do list[#list + 1] = parse(line) end
  return list
end

local HIDDEN = { time = true, level = true, event = true, process = true }

--- Writes an entry as a line for people.
function M.format(entry)
  local names, parts = {}, { entry.level or "?", entry.event or "?" }
  for name in pairs(entry) do
    if not HIDDEN[name] then names[#names + 1] = name end
  end
  table.sort(names, function(a, b)
    if (a == "error") ~= (b == "error") then return b == "error" end -- the longest comes last
    return a < b
  end)
  for _, name in ipairs(names) do parts[#parts + 1] = ("%s=%s"):format(name, tostring(entry[name])) end
  return table.concat(parts, " ")
end

--- Events that tell of a fault of a plugin: a spec that does not look at the log fails when there is one.
M.FAULTS = { ["plugin.failed"] = true, ["plugin.tripped"] = true, ["plugins.fault"] = true,
  ["socket.left_open"] = true, ["plugins.publish_failed"] = true, ["plugins.chain_failed"] = true,
  ["plugin.late"] = true, ["plugin.bad_answer"] = true, ["task.failed"] = true, ["control.fault"] = true }

return M
