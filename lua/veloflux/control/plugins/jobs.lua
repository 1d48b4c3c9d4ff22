--- The jobs of plugins: each has a task of the core's that waits until it is due and then runs it. A job never runs
-- twice at a time; beats that a long run misses are left out. Jobs of scope `cluster` run on the leader only, and what
-- they write carries its fence.
local documents = require "veloflux.control.plugins.documents"
local ffi = require "ffi"
local leader = require "veloflux.cluster.leader"
local network = require "veloflux.runtime.network"
local task = require "veloflux.runtime.task"
local tasks = require "veloflux.control.plugins.task"

ffi.cdef "uint64_t vf_clock_wall_ms(void);"

local M = {}

local LONGEST_WAIT_MS = 60000 -- then the clock is looked at again: somebody may have set it
local POLL_MS = 100
local entries = {} -- by plugin and name: what is known of each job, also over reloads
local busy = {}    -- by the same: the entry whose run has not ended, though its code may be gone

local function wall_ms() return tonumber(ffi.C.vf_clock_wall_ms()) end

local function key_of(plugin, job) return plugin.name .. "\0" .. job.name end

-- One run -------------------------------------------------------------------------------------------

--- What a run of a job may know: what it is called with.
local function context_of(entry, of)
  local job = entry.job
  return { name = job.name, scope = job.scope, due_ms = entry.due_ms, run = entry.runs + 1,
    is_leader = function() return not of.is_fenced or of.fence() ~= nil end }
end

local function note_end(entry, how)
  entry.how = how
  busy[entry.key] = nil
  entry.runs = entry.runs + 1
  entry.last_ms, entry.last_result = wall_ms(), how == "done" and "ok" or how
  entry.took_ms = entry.last_ms - entry.begun_ms
  if how ~= "done" and how ~= "stopped" then entry.errors = entry.errors + 1 end
  if entry.done then network.raise(entry.done) end
end

--- Returns what the writes of a run carry: the lease under which it began, nil once that is lost. That this node leads
-- again since does not help: another may have run the job meanwhile.
local function fence_of_run()
  local own = leader.fence()
  return function() return own and leader.current() == own.token and own or nil end
end

local function run(entry)
  local job = entry.job
  local is_cluster = job.scope == "cluster"
  busy[entry.key], entry.begun_ms = entry, wall_ms()
  local of = { source = "job", laggards = 0, is_fenced = is_cluster, fence = is_cluster and fence_of_run() or nil }
  entry.done = network.signal()
  entry.run = tasks.start(entry.plugin, { what = "job " .. job.name, of = of, limit_ms = job.timeout_ms,
    on_end = function(how)
      documents.close(of)
      note_end(entry, how)
    end }, job.run, context_of(entry, of))
  while busy[entry.key] == entry do network.wait_signal(entry.done, 0) end
  entry.done, entry.run = nil, nil
end

-- The life of a job -----------------------------------------------------------------------------------

--- Waits until a moment of the wall clock. Returns false when the job has been stopped meanwhile.
local function wait_until(entry, due_ms)
  while not entry.is_stopped do
    local left_ms = due_ms - wall_ms()
    if left_ms <= 0 then return true end
    entry.signal = network.signal()
    network.wait_signal(entry.signal, math.max(1, math.min(left_ms, LONGEST_WAIT_MS)))
  end
  return false
end

local COUNTS = { "runs", "errors", "skipped", "last_ms", "last_result", "took_ms" }

local function take_counts(entry, known)
  for _, name in ipairs(COUNTS) do entry[name] = known[name] end
end

--- A run of the same job ends first: of code before, or one that was asked for (run_now).
local function wait_for_others(entry)
  local other = busy[entry.key]
  while other do
    while busy[entry.key] == other do network.wait_signal(network.signal(), POLL_MS) end
    if other ~= entry then take_counts(entry, other) end
    other = busy[entry.key]
  end
end

--- It is time: runs the job, unless another node does.
local function beat(entry)
  if entry.job.scope == "cluster" and not leader.current() then
    entry.skipped, entry.how = entry.skipped + 1, "skipped"
  else
    run(entry)
  end
end

local function live(entry)
  wait_for_others(entry)
  local schedule, last_ms = entry.job.schedule, nil
  while not entry.is_stopped do
    local due_ms = schedule.next_ms(wall_ms(), last_ms, math.random())
    if not due_ms then return end
    entry.due_ms = due_ms
    if not wait_until(entry, due_ms) then return end
    last_ms = schedule.every_ms and (last_ms or due_ms - schedule.every_ms) + schedule.every_ms or due_ms
    wait_for_others(entry)
    if not entry.is_stopped then beat(entry) end
  end
end

local function stop(entry)
  entry.is_stopped = true
  if entry.signal then network.raise(entry.signal) end
end

local function start(plugin, job)
  local key = key_of(plugin, job)
  local known = entries[key] or { runs = 0, errors = 0, skipped = 0 }
  local entry = { plugin = plugin, job = job, key = key }
  take_counts(entry, known)
  entries[key] = entry
  task.spawn(live, entry)
end

--- Runs a job now, besides its times: at once, when it does not run already.
-- @param plugin, name of the job
-- @param callback function(how): it has ended so, or was "skipped", since another node leads
-- @return true; or nil and why not
function M.run_now(plugin, name, callback)
  local entry = entries[plugin .. "\0" .. name]
  if not entry then return nil, ("%s has no job %s"):format(plugin, name) end
  if busy[entry.key] then return nil, name .. " is running" end
  return task.spawn(function()
    if not busy[entry.key] then beat(entry) end
    callback(entry.how)
  end)
end

--- Follows the plugins that are at work: their jobs run, those of others do not begin again.
function M.follow(plugins)
  local wanted = {}
  for _, plugin in ipairs(plugins) do
    for _, job in ipairs(plugin.jobs) do wanted[key_of(plugin, job)] = { plugin, job } end
  end
  for key, entry in pairs(entries) do
    local with = wanted[key]
    if not with or with[1] ~= entry.plugin then stop(entry) end
    if not with then entries[key] = nil end
  end
  for key, with in pairs(wanted) do
    local entry = entries[key]
    if not entry or entry.plugin ~= with[1] then start(with[1], with[2]) end
  end
end

--- Returns what is known of all jobs, in the order of their names: {plugin, name, schedule, scope, is_running,
-- runs, errors, skipped, last_ms, last_result, took_ms, next_ms}.
function M.list()
  local list = {}
  for _, entry in pairs(entries) do
    list[#list + 1] = { plugin = entry.plugin.name, name = entry.job.name, schedule = entry.job.schedule.text,
      scope = entry.job.scope, description = entry.job.description, is_running = busy[entry.key] ~= nil,
      runs = entry.runs, errors = entry.errors, skipped = entry.skipped, last_ms = entry.last_ms,
      last_result = entry.last_result, took_ms = entry.took_ms, next_ms = entry.due_ms }
  end
  table.sort(list, function(a, b)
    if a.plugin ~= b.plugin then return a.plugin < b.plugin end
    return a.name < b.name
  end)
  return list
end

return M
