std = "luajit"
cache = "build/luacheck.cache"
max_line_length = 120
self = false -- phases are methods by contract, whether they use self or not
files["spec"] = { std = "+busted" }
files["spec/**/*.lua"] = { std = "+busted" }
files["plugins/*/spec"] = { std = "+busted" }
