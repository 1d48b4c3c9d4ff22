--- veloflux ctl COMMAND ...: the admin API from a terminal or a script.
-- Exit status: 0 done, 1 refused (the problem is on standard error), 2 wrong usage, 3 nobody answered, 4 (--wait)
-- stored, and not served by all nodes yet.
-- A command is {usage, help, run}: `run(ctx)` returns an exit status, or nil for 0; it may call ctx:ask and
-- ctx:usage, which end the command. See cli/ctl/node.lua and objects.lua.
local arguments = require "veloflux.cli.arguments"
local clients = require "veloflux.cli.client"
local json = require "veloflux.pdk.json"
local outcome = require "veloflux.cli.ctl.outcome"
local output = require "veloflux.cli.output"
local text = require "veloflux.cli.text"

local M = {}
local Context = {}
Context.__index = Context

M.REFUSED, M.USAGE, M.UNREACHABLE, M.LAGGING = 1, 2, 3, 4

local OPTIONS = {
  ["-c"] = arguments.CONFIG, ["--config"] = arguments.CONFIG,
  ["--address"] = { name = "address", values = 1, expects = "HOST:PORT, a URL or the path of a socket" },
  ["--user"] = { name = "user", values = 1, expects = "NAME:PASSWORD" },
  ["--tenant"] = { name = "tenant", values = 1, expects = "the name of a tenant" },
  ["-o"] = { name = "output", values = 1, expects = "table, json or yaml" },
  ["--output"] = { name = "output", values = 1, expects = "table, json or yaml" },
  ["-f"] = { name = "file", values = 1, expects = "a file, or - for standard input" },
  ["--file"] = { name = "file", values = 1, expects = "a file, or - for standard input" },
  ["-H"] = { name = "headers", values = 1, expects = "'NAME: VALUE'", many = true },
  ["-n"] = { name = "count", values = 1, expects = "a number" },
  ["--interval"] = { name = "interval", values = 1, expects = "seconds" },
  ["--client-ip"] = { name = "client_ip", values = 1, expects = "an IP address" },
  ["--consumer"] = { name = "consumer", values = 1, expects = "the name of a consumer" },
  ["--listener"] = { name = "listener", values = 1, expects = "the name of a listener" },
  ["--if-match"] = { name = "if_match", values = 1, expects = "a version" },
  ["--reason"] = { name = "reason", values = 1, expects = "a text" },
  ["--probation"] = { name = "probation", values = 1, expects = "a duration like 30s, or off" },
  ["--dry-run"] = { name = "dry_run", values = 0 },
  ["--wait"] = { name = "wait", values = 0 },
  ["--masked"] = { name = "masked", values = 0 },
  ["--replace"] = { name = "replace", values = 0 },
  ["--reset"] = { name = "reset", values = 0 },
  ["--yes"] = { name = "yes", values = 0 },
  ["--help"] = { name = "help", values = 0 }, ["-h"] = { name = "help", values = 0 },
}
M.OPTIONS = OPTIONS

local COMMANDS, ORDER = {}, {}

local function add_all(module)
  for _, command in ipairs(require(module)) do
    COMMANDS[command.name] = command
    ORDER[#ORDER + 1] = command
  end
end

--- Returns the commands in the order of the help.
function M.commands()
  if #ORDER == 0 then
    add_all "veloflux.cli.ctl.objects"
    add_all "veloflux.cli.ctl.node"
    add_all "veloflux.cli.ctl.completion"
  end
  return ORDER, COMMANDS
end

local function help()
  local lines = { "usage: veloflux ctl COMMAND [OPTIONS]", "" }
  for _, command in ipairs((M.commands())) do
    if command.help then lines[#lines + 1] = ("  %-42s %s"):format(command.usage, command.help) end
  end
  for _, line in ipairs { "",
    "  The kind may come first: pools list, routes get site, consumers delete ann.", "",
    "  -o table|json|yaml     how answers are written",
    "  --address ADDRESS      HOST:PORT, http://HOST:PORT or a socket; else VFX_ADDRESS, else the instance of the conf",
    "  --user NAME:PASSWORD   else API_USERNAME and API_PASSWORD, else those of the conf; a socket needs none",
    "  -c FILE                the conf, conf/veloflux.yaml unless VFX_CONFIG names another",
    "  --dry-run              changes of any kind: only says what would be done",
    "  --wait                 answers to changes come when all nodes of the cluster serve them",
    "", "exit status: 0 done, 1 refused, 2 wrong usage, 3 nobody answered, 4 not at all nodes yet (--wait)" } do
    lines[#lines + 1] = line
  end
  return lines
end

-- What commands may do ------------------------------------------------------------------------------

--- Ends the command.
local function leave(status, lines) error({ status = status, lines = lines }, 0) end

--- Ends the command: it was called wrongly.
function Context:usage(message)
  leave(M.USAGE, { "veloflux ctl: " .. message, "usage: veloflux ctl " .. self.command.usage })
end

--- Ends the command: it was refused.
function Context:refused(message) leave(M.REFUSED, { "veloflux ctl: " .. message }) end

local function problem_lines(answer)
  local body = type(answer.body) == "table" and answer.body or {}
  local lines = { ("refused (%d): %s"):format(answer.status,
    tostring(body.detail or body.error or answer.text:match "[^\r\n]+" or "no reason was given")) }
  for _, fault in ipairs(type(body.errors) == "table" and body.errors or {}) do
    lines[#lines + 1] = ("  %s: %s"):format(tostring(fault.pointer), tostring(fault.detail))
  end
  if type(body.source) == "string" then lines[#lines + 1] = "  it stands in " .. body.source end
  return lines
end

--- Ends the command unless the answer is a good one.
function Context:expect(answer)
  if answer.status >= 400 then leave(M.REFUSED, problem_lines(answer)) end
  return answer
end

--- Adds to a write what the options say of all writes: what would be done only, on which condition, and why.
local function of_write(parsed, target, options)
  local headers, all = {}, {}
  for name, value in pairs(options or {}) do all[name] = value end
  for option, parameter in pairs { dry_run = "dry_run=true", wait = "wait=cluster" } do
    if parsed[option] then target = target .. (target:find("?", 1, true) and "&" or "?") .. parameter end
  end
  if parsed.if_match then headers[1], headers[2] = "If-Match", ('"%s"'):format((parsed.if_match:gsub('"', ""))) end
  if parsed.reason then
    headers[#headers + 1], headers[#headers + 2] = "X-Change-Reason", (parsed.reason:gsub("%c", " "))
  end
  all.headers = headers
  return target, all
end

--- Asks; see Client:ask. What is refused ends the command, unless `options.any` is true.
function Context:ask(method, target, body, options)
  if not self.client then
    local client, message = clients.open(self.parsed)
    if not client then leave(M.UNREACHABLE, { "veloflux ctl: " .. message }) end
    self.client = client
  end
  if method ~= "GET" and method ~= "HEAD" then
    target, options = of_write(self.parsed, target, options)
  end
  local answer, message = self.client:ask(method, target, body, options)
  if not answer then leave(M.UNREACHABLE, { "veloflux ctl: " .. message }) end
  self.lagging = answer.headers["veloflux-lagging-nodes"] or self.lagging
  if options and options.any then return answer end
  return self:expect(answer)
end

--- Returns the text of the file of -f, and its path; "-" is standard input.
function Context:read_text()
  local path = self.parsed.file
  if not path then self:usage "-f FILE is needed" end
  local file, problem = io.stdin, nil
  if path ~= "-" then file, problem = io.open(path, "rb") end
  if not file then self:refused(problem) end
  local content = file:read "*a"
  if path ~= "-" then file:close() end
  if not content then self:refused(path .. " cannot be read") end
  return content, path
end

--- Returns the file of -f, YAML or JSON, as a value.
function Context:read_file()
  local value, message = text.parse(self:read_text())
  if value == nil then self:refused(message) end
  return value
end

--- Returns argument `i` behind the name of the command, or ends the command.
function Context:argument(i, name)
  local value = self.parsed[i + 1]
  if not value then self:usage(name .. " is missing") end
  return value
end

--- Writes a list of lines.
function Context:lines(lines)
  for _, line in ipairs(lines) do self.out(output.plain(line)) end
end

--- Writes a value as -o says.
-- @param for_people function(value) -> lines, for tables
function Context:show(value, for_people)
  local format = self.parsed.output or "table"
  if outcome.is_dry(value) then for_people = outcome.lines end
  if format == "json" then return self.out(json.lenient(value)) end
  self:lines((format == "yaml" or not for_people) and text.yaml(value) or for_people(value))
end

-- Running -------------------------------------------------------------------------------------------

local OF_KINDS = { list = true, get = true, create = true, set = true, delete = true }

--- The kind may stand first, too: `pools list` is `list pools`.
local function put_in_order(parsed)
  local _, commands = M.commands()
  if OF_KINDS[parsed[2]] and parsed[1] and not commands[parsed[1]] then
    parsed[1], parsed[2] = parsed[2], parsed[1]
  end
end

local OUTPUTS = { table = true, json = true, yaml = true }

local function find(parsed)
  put_in_order(parsed)
  local _, commands = M.commands()
  local command = commands[parsed[1]]
  if not command then return nil, parsed[1] and "unknown command " .. parsed[1] or "no command" end
  if parsed.output and not OUTPUTS[parsed.output] then return nil, "-o expects table, json or yaml" end
  if not command.takes_all and #parsed - 1 > (command.arguments or 0) then
    return nil, "unexpected argument " .. parsed[(command.arguments or 0) + 2]
  end
  return command
end

--- Runs the command.
-- @param args what follows "ctl"
-- @param out, err functions that write a line to standard output and standard error
-- @return the exit status
function M.run(args, out, err)
  if args[1] == "__complete" then return require("veloflux.cli.ctl.completion").complete(args, out) end
  local parsed, message = arguments.parse(args, OPTIONS)
  if parsed and (parsed.help or #parsed == 0 and #args == 0) then
    for _, line in ipairs(help()) do (parsed.help and out or err)(line) end
    return parsed.help and 0 or M.USAGE
  end
  local command
  if parsed then command, message = find(parsed) end
  if not command then
    err("veloflux ctl: " .. message .. " (see veloflux ctl --help)")
    return M.USAGE
  end
  local ctx = setmetatable({ parsed = parsed, command = command, out = out, err = err }, Context)
  local ok, result = xpcall(command.run, function(raised)
    return type(raised) == "table" and raised or debug.traceback(raised)
  end, ctx)
  if ok and ctx.lagging then err("veloflux ctl: not served yet by " .. ctx.lagging) end
  if ok then return ctx.lagging and (result or 0) == 0 and M.LAGGING or result or 0 end
  if type(result) ~= "table" then error(result, 0) end
  for _, line in ipairs(result.lines) do err(output.plain(line)) end
  return result.status
end

return M
