--- Conf texts for specs: loading them, and folders with files.
local library = require "support.library"
local uv = require "luv"
local conf = require "veloflux.conf"

local M = { library = library } -- held, so that it stays loaded

--- Loads a conf text called conf.yaml in `dir`, with nothing in the environment but `env`.
function M.load(text, env, dir)
  return conf.load { source = { text = text, name = "conf.yaml", dir = dir or "/etc/veloflux" }, env = env or {} }
end

--- Returns the problems of a conf text as lines.
function M.problems(text, env)
  local _, problems = M.load(text, env)
  local lines = {}
  for i, problem in ipairs(problems) do lines[i] = conf.format(problem) end
  return lines
end

--- Loads a conf text that must be good.
function M.model(text, env)
  local model, problems = M.load(text, env)
  if not model then error(conf.format(problems[1]), 2) end
  return model
end

--- Makes a folder with files: name -> text. Names may have folders.
function M.folder(files)
  local path = assert(uv.fs_mkdtemp "/tmp/veloflux-conf-XXXXXX")
  for name, text in pairs(files) do
    local inner = name:match "^(.*)/"
    if inner then uv.fs_mkdir(path .. "/" .. inner, tonumber("755", 8)) end
    local file = assert(io.open(path .. "/" .. name, "wb"))
    file:write(text)
    file:close()
  end
  return path
end

--- Removes a folder with what is in it.
function M.remove(path)
  local entries = uv.fs_scandir(path)
  while entries do
    local name, kind = uv.fs_scandir_next(entries)
    if not name then break end
    if kind == "directory" then M.remove(path .. "/" .. name) else uv.fs_unlink(path .. "/" .. name) end
  end
  uv.fs_rmdir(path)
end

--- A whole small conf; `extra` is appended.
function M.site(extra)
  return [[
listeners:
  - { name: http, address: 127.0.0.1:8000 }
pools:
  - name: web
    backends:
      - { address: 127.0.0.1:9001 }
      - { address: 127.0.0.1:9002 }
routes:
  - { name: site, host: "*", path_prefix: /, pool: web }
]] .. (extra or "")
end

return M
