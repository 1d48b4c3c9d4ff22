--- veloflux docs conf: the reference of the conf file, as docs/configuration.md has it.
local M = {}

--- Runs the command.
-- @param args what follows "docs"
-- @param out, err functions that write a line
-- @return the exit status
function M.run(args, out, err)
  if args[1] ~= "conf" or args[2] then
    err "usage: veloflux docs conf"
    return 1
  end
  out(require("veloflux.model.reference").markdown(require("veloflux.conf.grammar").file))
  return 0
end

return M
