--- Changes requests on their way to the backend: header fields, arguments, content, path and method.
-- What a configuration asks for is read into a plan once. All places in its texts are filled in before
-- anything is changed, so they show the request as it came to this plugin.
local pdk = require "veloflux.pdk"
local arguments = require "veloflux.plugins.request-transformer.arguments"
local bodies = require "veloflux.plugins.request-transformer.body"
local expression = require "veloflux.plugins.request-transformer.expression"
local planner = require "veloflux.plugins.request-transformer.plan"

local request, upstream, min = pdk.request, pdk.service.request, math.min

local Plugin = { PRIORITY = 801, VERSION = "1.0.0" }

local plans = setmetatable({}, { __mode = "k" }) -- configuration -> plan

local function plan_of(conf)
  local plan = plans[conf]
  if not plan then
    plan = planner.of(conf)
    plans[conf] = plan
  end
  return plan
end

-- Places -------------------------------------------------------------------------------------------------

local function shared_value(path)
  local value = pdk.ctx.shared
  for i = 1, #path do
    if type(value) ~= "table" then return nil end
    value = value[path[i]]
  end
  return value
end

local function capture(path)
  local captures = request.get_uri_captures()
  return captures.named[path[1]] or captures.unnamed[tonumber(path[1])]
end

local function argument(path)
  local value = request.get_query_arg(tostring(path[1]))
  return value == true and "" or value
end

local SOURCES = {
  headers = function(path) return request.get_header(tostring(path[1])) end,
  query_params = argument, uri_captures = capture, shared = shared_value,
}

local function percent(c) return ("%%%02X"):format(c:byte()) end

--- A value of the request in a path is one segment of it; captures were part of a path before.
local function encode_in_path(value, root)
  if root == "headers" or root == "query_params" then return pdk.encoding.url_encode(value) end
  return value
end

--- A header field has one line, whatever a value says.
local function in_header(text)
  local is_plain = true
  for i = 1, #text do
    local byte = text:byte(i)
    if byte <= 32 or byte == 127 then is_plain = false end
  end
  if is_plain then return text end
  return (text:gsub("[%z\1-\8\10-\31\127]", percent):match "^[ \t]*(.-)[ \t]*$")
end

--- Fills in all places of the plan.
-- @return number of the place -> text
local function fill_in(plan)
  local texts = {}
  for i = 1, plan.n_places do
    local place = plan.places[i]
    local text = expression.render(place.parts, SOURCES, place.target == "uri" and encode_in_path or nil)
    texts[i] = place.target == "headers" and in_header(text) or text
  end
  return texts
end

-- Header fields ------------------------------------------------------------------------------------------

local function set_host(value)
  if not pcall(upstream.set_header, "Host", value) then
    return pdk.response.error(400, "The host of this request is not valid")
  end
end

local HEADERS = {}

function HEADERS.remove(step) upstream.clear_header(step.name) end

function HEADERS.rename(step, new_name)
  local values = request.get_header_values(step.name)
  if #values == 0 then return end
  upstream.clear_header(step.name)
  upstream.set_header(new_name, values)
end

function HEADERS.replace(step, value)
  if step.is_host then return set_host(value) end
  if request.get_header(step.name) then upstream.set_header(step.name, value) end
end

function HEADERS.add(step, value)
  if not request.get_header(step.name) then upstream.set_header(step.name, value) end
end

function HEADERS.append(step, value) upstream.add_header(step.name, value) end

-- LuaJIT unrolls loops of three turns, whatever is in them; a longer one that it has left twice while it looked keeps
-- all around it in the interpreter.
local TURNS = 3

local function change_headers(steps, texts)
  local n = #steps
  for first = 1, n, TURNS do
    for i = first, min(first + TURNS - 1, n) do
      local step = steps[i]
      HEADERS[step.operation](step, planner.value_of(step, texts))
    end
  end
end

-- The rest -----------------------------------------------------------------------------------------------

local function change_query(steps, texts)
  local list = arguments.parse(upstream.get_raw_query())
  if not list then return pdk.response.error(400, "This request has too many arguments") end
  planner.take(steps, list, texts)
  if list.is_changed then upstream.set_raw_query(arguments.format(list)) end
end

local function body_or_refusal()
  local body, problem = request.get_raw_body()
  if body then return body end
  pdk.log.warn("the request body cannot be changed: ", problem)
  return pdk.response.error(413)
end

local function change_body(conf, steps, texts)
  local content_type = request.get_header "content-type"
  if not bodies.can_change(content_type) then return end
  local changed, problem = bodies.transform(body_or_refusal(), content_type, steps, texts)
  if changed then
    upstream.set_raw_body(changed)
  elseif problem and conf.invalid_body == "reject" then
    return pdk.response.error(400, "The body of this request cannot be read: " .. problem)
  elseif problem then
    pdk.log.debug("the request body is left as it is: ", problem)
  end
end

local function has_dot_segment(path)
  return ((path:gsub("%%2[Ee]", ".") .. "/"):find("/%.%.?/")) ~= nil
end

local function change_path(uri, texts)
  local path = planner.value_of(uri, texts)
  if path:byte(1) ~= 47 then path = "/" .. path end
  if uri.number and has_dot_segment(path) then
    return pdk.response.error(400, "The path of this request is not valid")
  end
  upstream.set_path(path)
end

local IS_BODILESS = { GET = true, TRACE = true }

--- A form that is sent with a method that has no content goes into the query, too.
local function change_method(method)
  if request.get_method() == "HEAD" then return end
  upstream.set_method(method)
  if not IS_BODILESS[method] or not bodies.is_form(request.get_header "content-type") then return end
  local form = arguments.parse(body_or_refusal())
  if not form then return pdk.response.error(400, "This request has too many arguments") end
  local text = arguments.format(form):gsub("[^!-~]", percent):gsub("#", "%%23")
  upstream.set_raw_query(arguments.join(upstream.get_raw_query(), text))
end

function Plugin:access(conf)
  local plan = plan_of(conf)
  local texts = plan.n_places > 0 and fill_in(plan) or nil
  if plan.uri then change_path(plan.uri, texts) end
  if conf.http_method then change_method(conf.http_method) end
  if plan.headers then change_headers(plan.headers, texts) end
  if plan.body then change_body(conf, plan.body, texts) end
  if plan.querystring then change_query(plan.querystring, texts) end
end

return Plugin
