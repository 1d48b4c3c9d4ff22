--- The machine as the benchmark sees it: processes that it starts, what they cost, and files below build/bench.
local M = {}

local function shell(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local text = pipe:read "*a"
  pipe:close()
  return text
end
M.shell = shell

--- The folder for everything that a benchmark writes.
M.WORK = shell("pwd"):match "[^\n]+" .. "/build/bench"
M.BINARY = os.getenv "VF_BINARY" or "build/veloflux"
M.TOOL = "build/bench/tool"

function M.write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

function M.read(path)
  local file = io.open(path)
  if not file then return nil end
  local text = file:read "*a"
  file:close()
  return text
end
local read = M.read

--- Starts `command` in the background; returns its process id.
function M.start(command, log)
  return tonumber(shell(("%s >%s/%s.log 2>&1 </dev/null & echo $!"):format(command, M.WORK, log)):match "%d+")
end

function M.stop(pid)
  local command = "kill %d 2>/dev/null; for i in $(seq 100); do kill -0 %d 2>/dev/null || break; sleep 0.05; done"
  shell(command:format(pid, pid))
end

function M.children(pid)
  local list = {}
  for child in shell("pgrep -P " .. pid):gmatch "%d+" do list[#list + 1] = tonumber(child) end
  return list
end

local function command_line(pid) return (read("/proc/" .. pid .. "/cmdline") or ""):gsub("%z", " ") end

--- Returns the first child of an instance of VeloFlux with a role such as "worker", or nil.
function M.child(pid, role)
  for _, child in ipairs(M.children(pid)) do
    if command_line(child):find("role=" .. role, 1, true) then return child end
  end
end

--- Waits until something answers on `port` (bounded).
function M.await(port)
  local command = "for i in $(seq 200); do curl -s -o /dev/null http://127.0.0.1:%d/64 && exit 0; sleep 0.05; done; "
    .. "exit 1"
  assert(os.execute(command:format(port)) == 0, "nothing answers on port " .. port)
end

--- Returns the processor time of a process, user and system.
function M.cpu_ns(pid)
  return tonumber((read("/proc/" .. pid .. "/schedstat") or "0"):match "^%d+")
end

--- Returns the seconds since the machine started.
function M.now_s() return tonumber(read("/proc/uptime"):match "^[%d.]+") end

--- Proportional set size in KiB.
function M.pss_kib(pid)
  return tonumber((read("/proc/" .. pid .. "/smaps_rollup") or ""):match "Pss:%s+(%d+)" or 0)
end

local function in_order(values)
  local sorted = {}
  for i, value in ipairs(values) do sorted[i] = value end
  table.sort(sorted)
  return sorted
end

function M.median(values)
  local sorted = in_order(values)
  local middle = math.floor((#sorted + 1) / 2)
  if #sorted == 0 then return 0 / 0 end
  return #sorted % 2 == 1 and sorted[middle] or (sorted[middle] + sorted[middle + 1]) / 2
end

--- Returns the value below which the share (0 to 1) of the values lies: nearest rank.
function M.quantile(values, share)
  local sorted = in_order(values)
  return sorted[math.max(1, math.ceil(#sorted * share))]
end

--- Says whether a scenario is asked for: ONLY="NAME ...", or all.
function M.wanted(name)
  local only = os.getenv "ONLY"
  return not only or (" " .. only .. " "):find(" " .. name .. " ", 1, true) ~= nil
end

return M
