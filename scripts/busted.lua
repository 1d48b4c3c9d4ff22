--- Starts busted, Debian's package for Lua 5.1, under the LuaJIT that runs it.
require "busted.runner" { standalone = false }
