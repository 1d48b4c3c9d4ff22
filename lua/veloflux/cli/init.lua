--- The commands that ask and end: check, reload, status, stop, plugin, store, ctl, docs. main.c has the others.
local output = require "veloflux.cli.output"

local M = {}

local function err(line) io.stderr:write(line, "\n") end

-- command -> module, function; a module is loaded when its command is asked for
local COMMANDS = {
  check = { "veloflux.cli.check", "run" },
  reload = { "veloflux.cli.instance", "reload" },
  status = { "veloflux.cli.instance", "status" },
  stop = { "veloflux.cli.instance", "stop" },
  ctl = { "veloflux.cli.ctl", "run" },
  plugin = { "veloflux.cli.plugin", "run" },
  store = { "veloflux.cli.store", "run" },
  docs = { "veloflux.cli.docs", "run" }, -- for the pages of docs/
}

--- Runs a command.
-- @param name of the command, then its arguments
-- @return the exit status: 0 or 1, of ctl and store more (cli/ctl/init.lua, cli/store.lua)
function M.main(name, ...)
  io.stdout:setvbuf "line" -- what was said is there, whatever comes
  local command = assert(COMMANDS[name], "main.c passes the commands above only")
  local status = require(command[1])[command[2]]({ ... }, output.line, err)
  local failure = output.finish()
  if not failure then return status end
  err(("veloflux: standard output: %s"):format(failure))
  return status ~= 0 and status or 1
end

return M
