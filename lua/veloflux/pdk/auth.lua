--- What plugins that authenticate have in common. Who asks is told to the backend in header fields, under the names
-- that Kong has for them; nobody else can put them there, for they are taken away from every request that such a
-- plugin sees.
--
--     function Plugin:access(conf)
--       if auth.is_settled(conf) then return end
--       local credential, consumer = client.load_credential("badge", pdk.request.get_header "x-badge" or "")
--       if not credential then return auth.refuse(conf, 401, "Unauthorized", { ["WWW-Authenticate"] = "Badge" }) end
--       auth.accept(consumer, credential, credential.number)
--     end
--
-- `conf` is the plugin's configuration; two fields of it mean the same in all of them:
--   anonymous         name of a consumer: who is refused goes on as this one. Plugins on one route that have it are
--                     alternatives: one that succeeds is enough. Without it each of them has to succeed
--   run_on_preflight  false: requests with the method OPTIONS pass without a look at their credentials
local client = require "veloflux.pdk.client"
local phase = require "veloflux.runtime.phase"
local task = require "veloflux.runtime.task"
local view = require "veloflux.runtime.view"
local C = require("ffi").C

---@class pdk.auth
local M = {}

local BEFORE = phase.set "before"

-- Sets a field for the backend; a value that cannot stand there, or nil, takes it away. Plugins may have consumers and
-- credentials of their own, with numbers as ids.
local function put(name, value)
  local ex = task.run.ex
  if type(value) == "number" then value = tostring(value) end
  if value and C.vf_view_edit_field(ex, view.REQUEST, view.SET, name, #name, value, #value) == 0 then return end
  C.vf_view_edit_field(ex, view.REQUEST, view.CLEAR, name, #name, "", 0)
end

-- Tells the backend who asks, and nothing else that a client may have said about it.
local function tell(values, consumer, identifier, anonymous)
  values.is_told, values.credential_identifier = true, identifier
  put("X-Consumer-ID", consumer and consumer.id)
  put("X-Consumer-Custom-ID", consumer and consumer.custom_id)
  put("X-Consumer-Username", consumer and consumer.username)
  put("X-Credential-Identifier", identifier)
  put("X-Anonymous-Consumer", anonymous)
  put("X-Consumer-Groups", nil)
  put("X-Authenticated-Groups", nil)
end

local function is_preflight(conf)
  return conf.run_on_preflight == false and view.text_of(view.METHOD) == "OPTIONS"
end

--- Returns true when the plugin has nothing to do: another one has authenticated the request and one is enough, or it
-- is a preflight that needs none.
---@param conf table
---@return boolean
function M.is_settled(conf)
  if not BEFORE[task.run.phase] then phase.wrong(BEFORE, "auth.is_settled") end
  local values = view.values()
  local is_settled = conf.anonymous ~= nil and values.credential ~= nil or is_preflight(conf)
  if is_settled and not values.is_told then tell(values, values.consumer) end
  return is_settled
end

--- Notes who asks (client.authenticate) and tells the backend: X-Consumer-ID, X-Consumer-Custom-ID and
-- X-Consumer-Username of the consumer, X-Credential-Identifier.
---@param consumer table|nil
---@param credential table
---@param identifier string|number|nil what may be known of the credential: a name, no secret
function M.accept(consumer, credential, identifier)
  if not BEFORE[task.run.phase] then phase.wrong(BEFORE, "auth.accept") end
  if type(credential) ~= "table" then error("auth.accept: expected a credential", 2) end
  client.authenticate(consumer, credential)
  tell(view.values(), consumer, type(identifier) == "number" and tostring(identifier) or identifier)
end

-- Goes on as the consumer that stands for everybody.
local function go_on_as(name)
  local consumer = client.load_consumer(name)
  if not consumer then
    require("veloflux.pdk.log").err("the consumer for anonymous requests is unknown: ", name)
    return require("veloflux.pdk.response").error(500)
  end
  client.authenticate(consumer, nil)
  tell(view.values(), consumer, nil, "true")
end

--- Refuses: answers, and does not return; or, when `conf` says `anonymous`, notes that consumer and returns. An error
-- of the server (status 500 and more) is answered in any case: whether somebody is anonymous is not known then.
---@param conf table
---@param status integer
---@param message string|table|nil as for response.error; a table is the whole answer, as JSON
---@param headers table|nil WWW-Authenticate belongs to a 401
function M.refuse(conf, status, message, headers)
  if not BEFORE[task.run.phase] then phase.wrong(BEFORE, "auth.refuse") end
  if conf.anonymous and status < 500 then return go_on_as(conf.anonymous) end
  local response = require "veloflux.pdk.response"
  if type(message) == "table" then return response.exit(status, message, headers) end
  return response.error(status, message, headers)
end

return M
