--- Does nothing: its specs run scripts, to see what functions of the plugin API mean to handlers.
local Plugin = { PRIORITY = 1, VERSION = "1.0.0" }

function Plugin:access() end

return Plugin
