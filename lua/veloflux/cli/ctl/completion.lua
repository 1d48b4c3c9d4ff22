--- veloflux ctl completion SHELL: a script that asks this binary, as it is installed, what may come next.
local arguments = require "veloflux.cli.arguments"
local clients = require "veloflux.cli.client"

local M = {}

-- Colons split words there, and ids of plugins have some: they are put together again.
local BASH = [=[
# completion of veloflux for bash:  source <(veloflux ctl completion bash)
_veloflux() {
  local IFS=$'\n' i part next word="" words=()
  for (( i = 1; i <= COMP_CWORD; i++ )); do
    part=${COMP_WORDS[i]}
    if [[ $i -gt 1 && ( $part == :* || $word == *: ) ]]; then word+=$part; continue; fi
    [[ $i -gt 1 ]] && words+=("$word")
    word=$part
  done
  next=$("${COMP_WORDS[0]}" ctl __complete "${words[@]}" 2>/dev/null)
  COMPREPLY=( $(compgen -W "$next" -- "$word") )
  [[ $word == *:* && $COMP_WORDBREAKS == *:* ]] && COMPREPLY=( "${COMPREPLY[@]#"${word%"${word##*:}"}"}" )
  return 0
}
complete -o default -F _veloflux veloflux
]=]

local ZSH = [=[
#compdef veloflux
# completion of veloflux for zsh, behind compinit:  source <(veloflux ctl completion zsh)
# or as a file called _veloflux in a folder of fpath
_veloflux() {
  local -a next
  next=(${(f)"$(${(Q)words[1]} ctl __complete ${(Q)words[2,CURRENT-1]} 2>/dev/null)"})
  compadd -a next || _files
}
if [[ "${funcstack[1]}" == _veloflux ]]; then _veloflux; else compdef _veloflux veloflux; fi
]=]

local SCRIPTS = { bash = BASH, zsh = ZSH }

M[1] = { name = "completion", usage = "completion bash|zsh", arguments = 1, help = "a script for the shell: "
  .. "source <(veloflux ctl completion bash)", run = function(ctx)
    local shell = ctx:argument(1, "bash or zsh")
    if not SCRIPTS[shell] then ctx:usage("there is none for " .. shell) end
    ctx.out((SCRIPTS[shell]:gsub("\n$", "")))
  end }

local TOP_LEVEL = { "run", "check", "proxy", "reload", "status", "stop", "plugin", "store", "ctl", "version" }
local BELOW = { plugin = { "new", "test", "docs", "list" }, store = { "copy" } }
local OF_KINDS = { "list", "get", "create", "set", "delete" }
local OUTPUTS, LEVELS = { "table", "json", "yaml" }, { "debug", "info", "warn", "error" }
local METHODS = { "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS" }

local function names_of(list, field)
  local names = {}
  for _, item in ipairs(list) do
    if type(item[field]) == "string" then names[#names + 1] = item[field] end
  end
  return names
end

local function options()
  local names = {}
  for name in pairs(require("veloflux.cli.ctl").OPTIONS) do
    if name:find "^%-%-" then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

--- Asks the server, as the options of the command line say. Returns decoded JSON or nil.
local function ask(words, path)
  local ok, parsed = pcall(arguments.parse, { unpack(words, 2) }, require("veloflux.cli.ctl").OPTIONS)
  local client = ok and parsed and clients.open(parsed)
  local answer = client and client:ask("GET", path)
  return answer and answer.status == 200 and answer.body or nil
end

--- The collections that the server has, by what stands behind /api/.
local function kinds(words)
  local document, names = ask(words, "/api/openapi.json"), {}
  for path in pairs(document and document.paths or {}) do
    local name = path:match "^/api/([%w_-]+)$"
    if name and document.paths[path .. "/{id}"] then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

local function kinds_and_names(words)
  if #words == 2 then return kinds(words) end
  if #words > 3 then return {} end
  local list = ask(words, "/api/" .. words[3] .. "?limit=500")
  return names_of(type(list) == "table" and list or {}, "id")
end

local function only_kinds(words) return #words == 2 and kinds(words) or {} end

--- What may follow a command and the arguments behind it.
local BY_COMMAND = {
  list = only_kinds, create = only_kinds, get = kinds_and_names, set = kinds_and_names, delete = kinds_and_names,
  backend = function(words)
    if #words == 2 then return { "drain", "disable", "undrain", "weight" } end
    return #words == 3 and names_of(ask(words, "/api/backends?limit=500") or {}, "id") or {}
  end,
  backups = function(words)
    if #words == 2 then return { "list", "make", "delete", "restore" } end
    local list = #words == 3 and (words[3] == "delete" or words[3] == "restore") and ask(words, "/api/backups")
    return list and names_of(list, "backup_id") or {}
  end,
  keys = function(words) return #words == 2 and { "list", "rotate", "retire" } or {} end,
  ["log-level"] = function() return LEVELS end,
  completion = function(words) return #words == 2 and { "bash", "zsh" } or {} end,
  explain = function(words) return #words == 2 and METHODS or {} end,
  request = function(words) return #words == 2 and METHODS or {} end,
}

--- The kind may stand first, too: `pools get` is `get pools`.
local function in_order(words)
  local _, commands = require("veloflux.cli.ctl").commands()
  if commands[words[2]] or not words[3] then return words end
  return { words[1], words[3], words[2], unpack(words, 4) }
end

--- Returns what may come behind `words`, "ctl" first, besides options.
local function arguments_of(words)
  local ctl = require "veloflux.cli.ctl"
  local list, commands = ctl.commands()
  if #words == 1 then
    local names = names_of(list, "name")
    for _, kind in ipairs(kinds(words)) do names[#names + 1] = not commands[kind] and kind or nil end
    return names
  end
  if #words == 2 and not commands[words[2]] then return OF_KINDS end
  words = in_order(words)
  return BY_COMMAND[words[2]] and BY_COMMAND[words[2]](words) or {}
end

--- Returns what may come behind `words`.
local function candidates(words)
  local known, last = require("veloflux.cli.ctl").OPTIONS, words[#words]
  if #words == 0 then return TOP_LEVEL end
  if words[1] ~= "ctl" then return #words == 1 and BELOW[words[1]] or {} end
  if last == "-o" or last == "--output" then return OUTPUTS end
  if known[last] and known[last].values > 0 then return {} end
  local list = #words > 1 and options() or {}
  for _, name in ipairs(arguments_of(words)) do list[#list + 1] = name end
  return list
end

--- Writes what may come behind the words of a command line, one a line.
-- @param args "__complete" and the words so far, without the one that is being written
function M.complete(args, out)
  for _, name in ipairs(candidates { unpack(args, 2) }) do out(name) end
  return 0
end

return M
