--- veloflux docs conf | api: the references of the conf file and of the admin API, as docs/ has them.
local M = {}

--- The pages by name: functions that return Markdown. That of the API has the endpoints of the plugins that the
-- binary carries, too.
M.PAGES = {
  conf = function() return require("veloflux.model.reference").markdown(require("veloflux.conf.grammar").file) end,
  api = function()
    local router = require("veloflux.admin").router
    require("veloflux.control.plugins").adopt_shipped()
    return require("veloflux.admin.openapi").markdown(router)
  end,
}

--- Runs the command.
-- @param args what follows "docs"
-- @param out, err functions that write a line
-- @return the exit status
function M.run(args, out, err)
  local page = M.PAGES[args[1]]
  if not page or args[2] then
    err "usage: veloflux docs conf | api"
    return 1
  end
  out(page())
  return 0
end

return M
