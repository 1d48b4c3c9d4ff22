--- What the machine says of itself: processor, memory, network and disk, as proc(5) and statvfs(3) have it.
-- Figures that cannot be read are nil.
local ffi = require "ffi"

ffi.cdef [[
int statvfs(const char *path, void *out);
long sysconf(int name);
]]
local C = ffi.C

local M = {}

local SC_CLK_TCK, SC_PAGESIZE, SC_NPROCESSORS_ONLN = 2, 30, 84 -- of glibc and musl on Linux
local TICKS_PER_SECOND, PAGE_BYTES = tonumber(C.sysconf(SC_CLK_TCK)), tonumber(C.sysconf(SC_PAGESIZE))
M.CORES = tonumber(C.sysconf(SC_NPROCESSORS_ONLN))

local STATVFS_WORDS = 32 -- more than struct statvfs has on 64-bit Linux
local FRAGMENT, BLOCKS, FREE, AVAILABLE = 1, 2, 3, 4 -- its words

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read "*a"
  file:close()
  return text
end

local function numbers(text)
  local list = {}
  for word in text:gmatch "%S+" do list[#list + 1] = tonumber(word) end
  return list
end

--- Returns the ticks in which the processors were busy, and all ticks, since the machine started.
function M.cpu_ticks()
  local line = (read "/proc/stat" or ""):match "^cpu +([^\n]*)"
  if not line then return nil end
  local ticks, all = numbers(line), 0
  for i = 1, math.min(#ticks, 8) do all = all + ticks[i] end -- those of guests are in user and nice
  return all - ticks[4] - ticks[5], all                      -- less idle and waiting for disks
end

--- Returns the load of 1, 5 and 15 minutes.
function M.load()
  local list = numbers((read "/proc/loadavg" or ""):match "^%S+ %S+ %S+" or "")
  return #list == 3 and list or nil
end

--- Returns {total, available} in bytes.
function M.memory()
  local text = read "/proc/meminfo" or ""
  local total, available = text:match "MemTotal: +(%d+) kB", text:match "MemAvailable: +(%d+) kB"
  if not (total and available) then return nil end
  return { total = tonumber(total) * 1024, available = tonumber(available) * 1024 }
end

--- Returns the bytes that all interfaces but the loopback have received and sent.
function M.network()
  local text = read "/proc/net/dev"
  if not text then return nil end
  local received, sent = 0, 0
  for name, rest in text:gmatch "([%w@._-]+): *([^\n]*)" do
    local fields = numbers(rest)
    if name ~= "lo" and #fields >= 9 then received, sent = received + fields[1], sent + fields[9] end
  end
  return received, sent
end

--- Returns {total, used, available} in bytes of the file system that holds `path`.
function M.disk(path)
  local words = ffi.new("uint64_t[?]", STATVFS_WORDS)
  if C.statvfs(path, words) ~= 0 then return nil end
  local unit = tonumber(words[FRAGMENT])
  local total, free = tonumber(words[BLOCKS]) * unit, tonumber(words[FREE]) * unit
  return { total = total, used = total - free, available = tonumber(words[AVAILABLE]) * unit }
end

--- Returns the kernel's release.
function M.kernel() return (read "/proc/sys/kernel/osrelease" or ""):match "^%S+" end

--- Returns the processor time in seconds, the resident memory in bytes and the number of threads of a
-- process; nil when it is gone (/proc/PID/stat).
function M.process(pid)
  local fields = {}
  for field in ((read(("/proc/%d/stat"):format(pid)) or ""):match "^.*%) (.*)$" or ""):gmatch "%S+" do
    fields[#fields + 1] = tonumber(field) or field
  end
  if #fields < 22 then return nil end
  return (fields[12] + fields[13]) / TICKS_PER_SECOND, fields[22] * PAGE_BYTES, fields[18]
end

return M
