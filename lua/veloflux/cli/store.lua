--- veloflux store copy: from one store into another, of either driver.
local arguments = require "veloflux.cli.arguments"
local copies = require "veloflux.cli.store_copy"
local files = require "veloflux.conf.files"
local group = require "veloflux.cli.group"
local loops = require "veloflux.cli.store_loop"
local wires = require "veloflux.store.redis.wire"

local M = {}

M.USAGE = [[
usage: veloflux store copy --from STORE --to STORE [--from-prefix NAME] [--to-prefix NAME] [--force]
           copies the entities, all versions with their history, and the small things that last, and compares both
           STORE: the path of an SQLite file (data_dir/veloflux.db), or a URL: redis://USER:PASSWORD@HOST:PORT/DB,
                  unix:///PATH?db=DB, redis+sentinel://HOST:PORT,HOST:PORT/MASTER/DB, redis+cluster://HOST,HOST;
                  {file:/PATH} reads it from a file, so that no password is seen among the processes
           NAME:  store.prefix of the conf file (veloflux)
           --force: empties a target that has something; without it, that is refused
       The instances that use either store should be stopped. The new one needs the same master key.
       exit status: 0 copied and compared, 1 failed, 2 the target is not empty]]

local OPTIONS = {
  ["--from"] = { name = "from", values = 1, expects = "a store" },
  ["--to"] = { name = "to", values = 1, expects = "a store" },
  ["--from-prefix"] = { name = "from_prefix", values = 1, expects = "a name" },
  ["--to-prefix"] = { name = "to_prefix", values = 1, expects = "a name" },
  ["--force"] = { name = "force", values = 0 },
}
local TIMEOUT_MS = 30000
local FAILED, NOT_EMPTY = 1, 2

--- Reads {file:PATH}.
local function read_reference(text)
  local path = text:match "^{file:(.+)}$"
  if not path then return text end
  local file, problem = io.open(path, "rb")
  if not file then return nil, problem end
  local content = file:read "*a"
  file:close()
  if not content then return nil, path .. ": not a file" end
  return (content:gsub("%s+$", ""))
end

--- Makes the settings of a store.
-- @param must_exist true: a file that is not there is not made
-- @return settings, or nil and a message
local function settings_of(text, prefix, must_exist)
  local place, problem = read_reference(text)
  if not place then return nil, problem end
  if place:find "^[%a+]+://" then
    return { driver = "redis", url = place, prefix = prefix, timeout_ms = TIMEOUT_MS }
  elseif prefix then
    return nil, "only a store in Redis has a prefix"
  elseif must_exist and not files.real_path(place) then
    return nil, place .. ": no such file"
  end
  return { driver = "sqlite", path = place }
end

--- Raises what a step says is wrong, with whose it is.
local function of_store(label, message) error({ message = ("%s: %s"):format(label, message) }, 0) end

local function open(loop, label, ...)
  local settings, message = settings_of(...)
  if not settings then of_store(label, message) end
  local store
  store, message = loop:open(settings)
  return store or of_store(label, message)
end

--- What copying does: errors say whose they are.
local function make_caller(loop, from)
  local function label(store) return store == from and "--from" or "--to" end
  local function guarded(store, fn)
    local ok, result = pcall(fn)
    if ok then return result end
    if type(result) == "table" and result.message then of_store(label(store), result.message) end
    error(result, 0)
  end
  return {
    now_ms = wires.now_ms,
    ask = function(store, ...)
      local args, n = { ... }, select("#", ...)
      return guarded(store, function() return loop:ask(store, unpack(args, 1, n)) end)
    end,
    ask_all = function(calls)
      return calls[1] and guarded(calls[1][1], function() return loop:ask_all(calls) end)
    end,
  }
end

local function plural(n, one, many) return ("%d %s"):format(n, n == 1 and one or many) end

local function copy(loop, parsed, out, err)
  local from = open(loop, "--from", parsed.from, parsed.from_prefix, true)
  local to = open(loop, "--to", parsed.to, parsed.to_prefix, false)
  local caller = make_caller(loop, from)
  if caller.ask(from, "load").version == 0 then of_store("--from", "has no version: there is nothing to copy") end
  if not parsed.force and not copies.is_empty(caller, to) then
    err "veloflux store copy: --to: is not empty; with --force it is emptied first"
    return NOT_EMPTY
  end
  local done = copies.run(caller, from, to)
  out(("copied version %d: %s, %s, %s; both have sha256 %s"):format(done.version,
    plural(done.entities, "entity", "entities"), plural(done.versions, "version", "versions"),
    plural(done.things, "small thing", "small things"), done.digest))
  return 0
end

local function same_place(parsed)
  local from, to = files.real_path(parsed.from) or parsed.from, files.real_path(parsed.to) or parsed.to
  return from == to and parsed.from_prefix == parsed.to_prefix
end

local commands = {}

function commands.copy(args, out, err)
  local parsed, message = arguments.parse(args, OPTIONS)
  if parsed and #parsed > 0 then parsed, message = nil, "unexpected argument " .. parsed[1] end
  if parsed and not (parsed.from and parsed.to) then parsed, message = nil, "expected --from and --to" end
  if parsed and same_place(parsed) then parsed, message = nil, "--from and --to are the same" end
  if not parsed then return nil, message end
  local loop = loops.new()
  local ok, result = pcall(copy, loop, parsed, out, err)
  pcall(loop.close, loop)
  if ok then return result end
  if type(result) ~= "table" then error(result, 0) end
  err("veloflux store copy: " .. result.message)
  return FAILED
end

--- Runs the command.
-- @param args what follows "store"
-- @param out, err functions that write a line to standard output and standard error
-- @return the exit status
function M.run(args, out, err)
  return group.run({ name = "store", usage = M.USAGE, commands = commands }, args, out, err)
end

return M
