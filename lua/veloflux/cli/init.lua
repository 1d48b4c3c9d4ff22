--- The commands that run in this process and end. `run` and `proxy` are the supervisor's.
local ffi = require "ffi"

ffi.cdef [[ const char *vf_version(void); ]]

local M = {}

M.USAGE = [[
usage: veloflux COMMAND

  run [-c FILE] [--watch]      start in the foreground (SIGHUP reload, SIGTERM drain and stop,
                               SIGUSR1 reopen logs, SIGUSR2 upgrade)
  check [-c FILE]              every problem of the conf file, with its line
  check --explain METHOD URL   which route answers, and why (-H 'NAME: VALUE' adds a header field)
  proxy --from ADDRESS --to ADDRESS
                               a proxy without a file: veloflux proxy --from :8000 --to 127.0.0.1:3000
  reload [-c FILE]             load the conf file anew and wait until it is live
  status [-c FILE]             what the running instance says of itself
  stop [-c FILE]               drain, stop, and wait for that
  version

-c FILE, --config FILE or VFX_CONFIG name the conf file; else it is conf/veloflux.yaml.]]

local function out(line) io.stdout:write(line, "\n") end
local function err(line) io.stderr:write(line, "\n") end

local COMMANDS = {
  check = function(args) return require("veloflux.cli.check").run(args, out, err) end,
  reload = function(args) return require("veloflux.cli.instance").reload(args, out, err) end,
  status = function(args) return require("veloflux.cli.instance").status(args, out, err) end,
  stop = function(args) return require("veloflux.cli.instance").stop(args, out, err) end,
  docs = function(args) return require("veloflux.cli.docs").run(args, out, err) end, -- for docs/
  version = function()
    out("veloflux " .. ffi.string(ffi.C.vf_version()))
    return 0
  end,
  help = function()
    out(M.USAGE)
    return 0
  end,
}
COMMANDS["--version"], COMMANDS["--help"], COMMANDS["-h"] = COMMANDS.version, COMMANDS.help, COMMANDS.help

--- Runs a command.
-- @param name of the command, then its arguments
-- @return the exit status, 0 or 1
function M.main(name, ...)
  local command = COMMANDS[name or ""]
  if command then return command { ... } end
  if name then err(("veloflux: unknown command %s"):format(name)) end
  err(M.USAGE)
  return 1
end

return M
