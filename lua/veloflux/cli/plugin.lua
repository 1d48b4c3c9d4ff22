--- veloflux plugin new | test | docs | list: for who writes plugins.
local arguments = require "veloflux.cli.arguments"
local conf = require "veloflux.conf"
local control = require "veloflux.plugin.control"
local files = require "veloflux.conf.files"
local group = require "veloflux.cli.group"
local loader = require "veloflux.plugin.loader"
local sources = require "veloflux.plugin.sources"

local M = {}

M.USAGE = [[
usage: veloflux plugin new NAME [--dir DIR] [--control]
           a folder DIR/NAME (DIR: the current one) with a handler, a schema, a README and a spec that passes;
           --control: with an entity and an endpoint of the admin API instead
       veloflux plugin test [DIR] [--filter TEXT] [--seed N]
           runs DIR/spec/*_spec.lua, without network, store or clock; TEXT: those whose full name contains it;
           N: cuts bodies at the same places again
       veloflux plugin docs [DIR | --all] [--json-schema] [--to FOLDER]
           the reference of the plugin in DIR, or of all that are shipped, as Markdown or as JSON Schema; with --to as
           FOLDER/NAME.md or FOLDER/NAME.json
       veloflux plugin list [-c FILE]
           the plugins that there are, those of the conf file's plugin_path included]]

local TEST_OPTIONS = {
  ["--filter"] = { name = "filter", values = 1, expects = "a text" },
  ["--seed"] = { name = "seed", values = 1, expects = "a whole number" },
}
local NEW_OPTIONS = { ["--dir"] = { name = "dir", values = 1, expects = "a folder" },
  ["--control"] = { name = "control", values = 0 } }
local DOCS_OPTIONS = {
  ["--all"] = { name = "all", values = 0 },
  ["--json-schema"] = { name = "json_schema", values = 0 },
  ["--to"] = { name = "to", values = 1, expects = "a folder" },
}
local LIST_OPTIONS = { ["-c"] = arguments.CONFIG, ["--config"] = arguments.CONFIG }

--- Says whether a folder has one of the files that plugins begin with.
local function is_plugin(folder)
  if files.real_path(folder .. "/handler.lua") then return true end
  for _, file in ipairs(control.FILES) do
    if files.real_path(("%s/%s.lua"):format(folder, file)) then return true end
  end
  return false
end

--- Finds the plugin in a folder.
-- @return {name, folder, paths}; or nil and a message
function M.at(folder)
  local real = files.real_path(folder)
  if not real then return nil, ("%s: no such folder"):format(folder) end
  local name = real:match "([^/]+)$" or ""
  if not is_plugin(real) then
    return nil, ("%s: is not the folder of a plugin: there is no handler.lua, and no file for control"):format(folder)
  elseif not name:find(sources.NAME_PATTERN) then
    return nil, ("%s: the folder's name is that of the plugin: letters, digits, - and _"):format(folder)
  end
  return { name = name, folder = real, paths = { files.folder_of(real) } }
end

--- Loads the plugin of a place, and prints all that is wrong with it.
-- @return what plugin/loader.lua knows, or nil
local function load_plugin(place, err)
  local of = loader.new(place.paths)
  local plugin = of:find(place.name)
  for _, problem in ipairs(of.problems) do err(conf.format(problem)) end
  for _, warning in ipairs(of.warnings) do err("warning: " .. conf.format(warning)) end
  if #of.problems == 0 then return plugin end
  err(("%s: %d %s"):format(place.name, #of.problems, #of.problems == 1 and "problem" or "problems"))
end

local commands = {}

function commands.new(args, out, err)
  local parsed, message = arguments.parse(args, NEW_OPTIONS)
  if parsed and #parsed ~= 1 then parsed, message = nil, "expected one NAME" end
  if not parsed then return nil, message end
  local folder, created = require("veloflux.kit.scaffold").create(parsed[1], parsed.dir or ".", parsed.control)
  if not folder then
    err("veloflux plugin new: " .. created)
    return 1
  end
  for _, path in ipairs(created) do out("created " .. path) end
  out(("try it: veloflux plugin test %s"):format(folder))
  return 0
end

function commands.test(args, out, err)
  local parsed, message = arguments.parse(args, TEST_OPTIONS)
  local seed = parsed and parsed.seed
  if parsed and #parsed > 1 then parsed, message = nil, "unexpected argument " .. parsed[2] end
  if seed and not seed:find "^%d+$" then parsed, message = nil, "--seed expects a whole number" end
  if not parsed then return nil, message end
  local place, problem = M.at(parsed[1] or ".")
  if not place then
    err("veloflux plugin test: " .. problem)
    return 1
  end
  if not load_plugin(place, err) then return 1 end
  return require("veloflux.kit.suite").run(place, { filter = parsed.filter, seed = tonumber(seed),
    shown = parsed[1] or "." }, out, err)
end

local function write_page(folder, name, text, out)
  local path = ("%s/%s"):format(folder, name)
  local file, problem = io.open(path, "wb")
  if not file then return nil, problem end
  file:write(text)
  file:close()
  out("wrote " .. path)
  return true
end

--- Returns the places of the plugins that docs are asked of; or nil and a message.
local function documented(parsed)
  if not parsed.all then
    local place, problem = M.at(parsed[1] or ".")
    return place and { place }, problem
  end
  local list = {}
  for i, name in ipairs(sources.names {}) do list[i] = { name = name, paths = {} } end
  return list
end

function commands.docs(args, out, err)
  local parsed, message = arguments.parse(args, DOCS_OPTIONS)
  local most = parsed and parsed.all and 0 or 1
  if parsed and #parsed > most then parsed, message = nil, "unexpected argument " .. parsed[#parsed] end
  if not parsed then return nil, message end
  local places, problem = documented(parsed)
  if not places then
    err("veloflux plugin docs: " .. problem)
    return 1
  end
  local status = 0
  for _, place in ipairs(places) do
    local plugin = load_plugin(place, err)
    local text = plugin and (parsed.json_schema and require("veloflux.plugin.json_schema").text(plugin)
      or require("veloflux.plugin.reference").markdown(plugin))
    local ok = text
    if text and parsed.to then
      ok, problem = write_page(parsed.to, place.name .. (parsed.json_schema and ".json" or ".md"), text, out)
      if not ok then err("veloflux plugin docs: " .. problem) end
    elseif text then
      out((text:gsub("\n$", "")))
    end
    if not ok then status = 1 end
  end
  return status
end

--- Returns the plugin_path of a conf file, as far as it can be read; none without a file.
local function paths_of(parsed)
  local path = arguments.config_of(parsed)
  if not parsed.config and not files.real_path(path) then return {} end
  local model, problems = conf.load { source = { path = path }, lenient = true }
  local paths = model and model.node and model.node.plugin_path
  if paths then return paths end
  return nil, conf.format(problems[1])
end

local function row_of(of, name)
  local plugin, problem = of:find(name)
  if not plugin then return { name, "-", "-", "broken: " .. problem, "" } end
  return { name, plugin.version or "-", tostring(plugin.priority), table.concat(plugin.phases, " "),
    plugin.folder or "shipped" }
end

local function print_rows(rows, out)
  local widths = {}
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do widths[i] = math.max(widths[i] or 0, #cell) end
  end
  for _, row in ipairs(rows) do
    local cells = {}
    for i, cell in ipairs(row) do cells[i] = cell .. (" "):rep(widths[i] - #cell) end
    out((table.concat(cells, "  "):gsub("%s+$", "")))
  end
end

function commands.list(args, out, err)
  local parsed, message = arguments.parse(args, LIST_OPTIONS)
  if parsed and #parsed > 0 then parsed, message = nil, "unexpected argument " .. parsed[1] end
  if not parsed then return nil, message end
  local paths, problem = paths_of(parsed)
  if not paths then
    err(problem)
    return 1
  end
  local of, rows = loader.new(paths), { { "NAME", "VERSION", "PRIORITY", "PHASES", "FROM" } }
  for _, name in ipairs(of:names()) do rows[#rows + 1] = row_of(of, name) end
  print_rows(rows, out)
  for _, each in ipairs(of.problems) do err(conf.format(each)) end
  return #of.problems == 0 and 0 or 1
end

--- Runs the command.
-- @param args what follows "plugin"
-- @param out, err functions that write a line to standard output and standard error
-- @return the exit status
function M.run(args, out, err)
  return group.run({ name = "plugin", usage = M.USAGE, commands = commands }, args, out, err)
end

return M
