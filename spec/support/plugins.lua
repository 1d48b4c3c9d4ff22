--- A server whose routes have plugins that the spec writes itself.
--
--     local rig = plugins.start { hello = { handler = "... return Plugin", schema = "return {}" } }
--     clients.get(rig.port, "/")
local cjson = require "cjson"
local uv = require "luv"
local dns = require "unit.net.dns_server"
local loop = require "support.loop"
local origins = require "support.origin"
local servers = require "support.server"
local tempdir = require "support.tempdir"

local M = {}

local HEAD = [[
local pdk = require "veloflux.pdk"
local Plugin = { PRIORITY = 1000, VERSION = "1.0.0" }
]]

--- Writes plugins into a folder for plugin_path.
-- @param sources map from name to {handler, schema, [other file] = text}; a handler that has no `return` at its end is
--   given PRIORITY, VERSION, `pdk` and `Plugin`
-- @return the folder
function M.write(sources, folder)
  folder = folder or tempdir.new()
  for name, files in pairs(sources) do
    uv.fs_mkdir(folder .. "/" .. name, 493)
    for file, text in pairs(files) do
      local is_whole = text:find "return Plugin%s*$" or text:find "\nreturn [%a_][%w_]*%s*$"
      if file == "handler" and not is_whole then text = HEAD .. text .. "\nreturn Plugin\n" end
      tempdir.write(("%s/%s/%s.lua"):format(folder, name, file), text)
    end
    if not files.schema then tempdir.write(("%s/%s/schema.lua"):format(folder, name), "return {}") end
  end
  return folder
end

local function names_of(zone)
  local names = dns.start(zone)
  loop.defer(function() names:close() end)
  return { VF_DNS_SERVERS = names.address }
end

--- Starts a server with one route `all` to an echoing origin, on which every plugin of `sources` runs.
-- @param sources as for write
-- @param options table or nil: origin (handler), conf (keys that replace the defaults), plugins (the route's list),
--   zone (what names there are, as of unit.net.dns_server; nil: as the machine says)
-- @return rig: server, origin, port, folder, conf
function M.start(sources, options)
  options = options or {}
  local rig = { folder = M.write(sources) }
  rig.origin = origins.start(options.origin)
  local list = options.plugins
  if not list then
    list = {}
    for name in pairs(sources) do list[#list + 1] = { name = name } end
  end
  rig.conf = {
    plugin_path = { rig.folder },
    pools = { { name = "web", backends = { { address = rig.origin.address } } } },
    routes = { { name = "all", pool = "web", plugins = list[1] and list or nil } },
  }
  for key, value in pairs(options.conf or {}) do rig.conf[key] = value end
  rig.server = servers.start { conf = rig.conf, env = options.zone and names_of(options.zone) }
  rig.port = rig.server.ports.http
  return rig
end

--- Starts a server with one route `all` to an echoing origin, on which plugins of the binary run.
-- @param list the route's plugins
-- @param options as for start
function M.shipped(list, options)
  local all = { plugins = list }
  for key, value in pairs(options or {}) do all[key] = value end
  return M.start({}, all)
end

--- Gives the route of a rig another list of plugins, by a reload that has to succeed.
function M.change(rig, list)
  rig.conf.routes[1].plugins = list
  rig.server:write_conf(rig.conf)
  local ok, output = rig.server:reload()
  if not ok then error("the reload failed: " .. output, 2) end
end

--- Returns what `check` says of one plugin instance: "" when it is good.
function M.problems(instance)
  local dir = tempdir.new()
  tempdir.write(dir .. "/veloflux.yaml", servers.encode {
    routes = { { name = "all", respond = { status = 200 }, plugins = { instance } } },
  })
  local code, out, err = servers.command { "check", "-c", dir .. "/veloflux.yaml" }
  return code == 0 and "" or (out .. err):gsub(dir:gsub("%p", "%%%0") .. "/", "")
end

--- Decodes what the echoing origin has seen.
function M.seen(response) return cjson.decode(response.body) end

--- Returns the value of a field that the echoing origin has seen, or nil.
function M.field(response, name)
  for _, pair in ipairs(M.seen(response).fields) do
    if pair[1]:lower() == name:lower() then return pair[2] end
  end
end

return M
