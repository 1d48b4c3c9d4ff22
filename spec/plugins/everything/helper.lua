--- A file of the plugin's own, which specs may look at by itself.
local M = {}

function M.shout(text) return text:upper() .. "!" end

return M
