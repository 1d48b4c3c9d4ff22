--- veloflux check [-c FILE] [--explain METHOD URL [-H 'NAME: VALUE']...]
-- Every problem of the conf file as FILE:LINE: path: message; warnings of routes that never answer.
-- With --explain: which route answers a request, the plugins that run and where their settings come from,
-- which other routes match, and why they lose.
local arguments = require "veloflux.cli.arguments"
local conf = require "veloflux.conf"
local clashes = require "veloflux.control.plugins.clashes"
local compiler = require "veloflux.compiler"
local explain = require "veloflux.explain"
local origins = require "veloflux.plugin.origins"
local resolve = require "veloflux.plugin.resolve"
local words = require "veloflux.explain_words"

local M = {}

local OPTIONS = {
  ["-c"] = arguments.CONFIG, ["--config"] = arguments.CONFIG,
  ["--explain"] = { name = "explain", values = 2, expects = "METHOD URL" },
  ["-H"] = { name = "headers", values = 1, expects = "'NAME: VALUE'", many = true },
}

local function print_problems(problems, err)
  for _, problem in ipairs(problems) do err(conf.format(problem)) end
end

--- Writes what a snapshot holds: "1 listener, 2 routes, 1 pool, 3 backends".
function M.counts(summary)
  local parts = {}
  for i, kind in ipairs { "listeners", "routes", "pools", "backends" } do
    parts[i] = ("%d %s"):format(summary[kind], summary[kind] == 1 and kind:sub(1, -2) or kind)
  end
  return table.concat(parts, ", ")
end

local function backends_of(pool)
  local parts = {}
  for _, backend in ipairs(pool.backends) do parts[#parts + 1] = backend.address.text end
  return #parts > 0 and table.concat(parts, ", ") or "no backends"
end

local function print_winner(route, rival, out)
  out(("route    %s (%s:%d)"):format(route.name, route._file, route._line))
  out(("matches  %s"):format(words.describe(route, rival.host_class)))
  out(("action   %s"):format(words.action_of(route)))
  local clients = words.clients_of(route)
  if clients then out(("clients  %s"):format(clients)) end
  if route._pool then
    out(("pool     %s, %s: %s"):format(route._pool.name, route._pool.algorithm, backends_of(route._pool)))
  end
end

--- Prints the chain of a route (or of no route), and where each setting of it comes from.
local function print_chain(items, out)
  for i, item in ipairs(items or {}) do
    local label = item.as ~= item.name and item.name .. " as " .. item.as or item.name
    local more = item.on_error ~= "fail" and ", on_error " .. item.on_error or ""
    out(("%s %d. %s (priority %d, %s %s%s): %s"):format(i == 1 and "plugins " or "        ", i, label, item.priority,
      resolve.SCOPES[item.scope], item.source, more, table.concat(item.plugin.phases, " ")))
    for _, setting in ipairs(origins.of(item)) do
      out(("            %s: %s  (%s)"):format(setting.field, setting.value, setting.origin))
    end
  end
end

local function print_answer(model, answer, out)
  local winner = words.winner_of(answer)
  if winner then
    print_winner(model.routes[winner.route], winner, out)
    print_chain(model.routes[winner.route]._chain, out)
  else
    out(#answer.rivals == 0 and "route    none: 404" or "route    none of those that match the path: see below")
    print_chain(model.rest_chain, out)
  end
  for _, rival in ipairs(answer.rivals) do
    local route = model.routes[rival.route]
    if rival ~= winner then
      local reason = words.why_not(model, winner, rival)
      out(("rival    %s (%s:%d): %s; loses: %s"):format(route.name, route._file, route._line,
        words.describe(route, rival.host_class), reason))
    end
  end
end

local function headers_of(list)
  local headers = {}
  for _, text in ipairs(list or {}) do
    local name, value = text:match "^([^:]+):%s*(.-)%s*$"
    if not name then return nil, ("-H expects 'NAME: VALUE', got %s"):format(text) end
    headers[name:lower()] = value
  end
  return headers
end

local function run_explain(model, compiled, parsed, out, err)
  local method, url = parsed.explain[1], parsed.explain[2]
  local host, target = words.split_url(url)
  local headers, problem = headers_of(parsed.headers)
  if not headers then
    err(problem)
    return 1
  end
  local request = { method = method, host = host, target = target, headers = headers }
  local answer, reason = explain.ask(compiled, request)
  if not answer then
    err(("%s %s: refused before a route is chosen: %s"):format(method, url, reason))
    return 1
  end
  out(("request  %s %s%s"):format(method, host ~= "" and host .. " " or "", answer.path))
  print_answer(model, answer, out)
  return 0
end

--- Runs the command.
-- @param args what follows "check"
-- @param out, err functions that write a line to standard output and standard error
-- @return the exit status
function M.run(args, out, err)
  local parsed, message = arguments.parse(args, OPTIONS)
  if parsed and #parsed > 0 then parsed, message = nil, "unexpected argument " .. parsed[1] end
  if not parsed then
    err("veloflux check: " .. message)
    return 1
  end
  local path = arguments.config_of(parsed)
  local model, problems = conf.load { source = { path = path } }
  local compiled, problem
  if model then
    problems = clashes.of(model.control, require("veloflux.admin").router)
    if #problems > 0 then model = nil end
  end
  if model then
    compiled, problem = compiler.compile(model, {})
    if not compiled then problems = { problem } end
  end
  if not compiled then
    print_problems(problems, err)
    err(("%s: %d %s"):format(path, #problems, #problems == 1 and "problem" or "problems"))
    return 1
  end
  if parsed.explain then return run_explain(model, compiled, parsed, out, err) end
  for _, warning in ipairs(explain.warnings(model, compiled)) do err(warning) end
  out(("%s: ok (%s)"):format(path, M.counts(compiled.summary)))
  return 0
end

return M
