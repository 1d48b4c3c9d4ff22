--- Works out what the store has told, in slices. A fault in that is ours: whoever asked is told, and the log has it.
local link = require "veloflux.control.link"
local slices = require "veloflux.slices"

--- @param compute function() -> result
-- @param callback function(err, result)
return function(compute, callback)
  slices.run(function()
    local ok, result = xpcall(compute, debug.traceback)
    if ok then return callback(nil, result) end
    link.log("error", "control.fault", tostring(result))
    callback { code = "unavailable", message = "a fault in control: its log has it" }
  end)
end
