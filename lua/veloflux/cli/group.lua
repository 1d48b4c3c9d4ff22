--- A command of the command line that has commands of its own: `veloflux plugin list`, `veloflux store copy`.
local M = {}

local FAILED = 1

--- Runs one of them.
-- @param group table: name, as people type it; usage, a text; commands, functions(args, out, err) by name that return
--   the exit status, or nil and what is wrong with the arguments
-- @param args what follows the name of the group
-- @param out, err functions that write a line to standard output and standard error
-- @return the exit status; 1 when the arguments are wrong
function M.run(group, args, out, err)
  local name = args[1]
  if name == "--help" or name == "-h" or name == "help" then
    out(group.usage)
    return 0
  end
  local command = group.commands[name or ""]
  if not command then
    err(("veloflux %s: %s"):format(group.name, name and "unknown command " .. name or "no command"))
    err(group.usage)
    return FAILED
  end
  local status, message = command({ unpack(args, 2) }, out, err)
  if status then return status end
  err(("veloflux %s %s: %s"):format(group.name, name, message))
  err(group.usage)
  return FAILED
end

return M
