--- What is in the memory of another process: looks for bytes where it has data of its own or a snapshot.
local tempdir = require "support.tempdir"

local M = {}

local LONGEST = 64 * 1024 * 1024 -- of a mapping that is searched: larger ones are reserved, not filled
local STEP = 1024 * 1024

--- Says whether a mapping may hold what came with a snapshot. Other shared memory is full of holes that reading fills.
local function is_searched(name, bytes)
  if bytes > LONGEST then return false end
  return name == "" or name == "[heap]" or name == "[stack]" or name:find "veloflux%-snapshot" ~= nil
end

--- Calls `visit(text)` for the memory of a process, in overlapping parts.
local function each_part(pid, overlap, visit)
  local memory = assert(io.open(("/proc/%d/mem"):format(pid), "rb"))
  memory:setvbuf "no"
  for line in assert(tempdir.read(("/proc/%d/maps"):format(pid))):gmatch "[^\n]+" do
    local from, to, mode, name = line:match "^(%x+)%-(%x+) (%S+) %S+ %S+ %d+%s*(.*)$"
    from, to = tonumber(from, 16), tonumber(to, 16)
    if mode:sub(1, 1) == "r" and is_searched(name, to - from) then
      for at = from, to - 1, STEP do
        memory:seek("set", at)
        local text = memory:read(math.min(STEP + overlap, to - at))
        if text then visit(text) end
      end
    end
  end
  memory:close()
end

--- Returns the names of those of `wanted` (map from name to bytes) that are in the memory of a process, sorted.
function M.found(pid, wanted)
  local found, names, overlap = {}, {}, 0
  for _, bytes in pairs(wanted) do overlap = math.max(overlap, #bytes) end
  each_part(pid, overlap, function(text)
    for name, bytes in pairs(wanted) do found[name] = found[name] or text:find(bytes, 1, true) ~= nil end
  end)
  for name, is_there in pairs(found) do
    if is_there then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

return M
