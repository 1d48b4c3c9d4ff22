--- Makes the library under test what ffi.C finds, so that the modules of lua/veloflux, which reach C
-- as they do in the binary, run in specs. Require it before them.
local ffi = require "ffi"

return ffi.load(os.getenv "VF_LIBRARY" or "build/libveloflux.so", true)
