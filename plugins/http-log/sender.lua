--- How the entries of one configuration are sent: what is made of it once.
local pdk = require "veloflux.pdk"
local code = require "veloflux.plugins.http-log.code"

local M = {}

local LEAST_S = 0.01 -- the pace of queues

local function queue_options(queue)
  return {
    batch_items = queue.max_batch_size, max_delay = math.max(queue.max_coalescing_delay, LEAST_S),
    max_items = queue.max_entries, max_bytes = queue.max_bytes, max_retry_time = queue.max_retry_time,
    retry_delay = math.max(queue.initial_retry_delay, LEAST_S),
    max_retry_delay = math.max(queue.max_retry_delay, LEAST_S),
  }
end

--- Returns the URL without its user, and the Authorization that this is.
local function split_url(url)
  local scheme, user, rest = url:match "^(%a[%w+.-]*://)([^/?#]*)@(.*)$"
  if not scheme then return url end
  local decoded = pdk.encoding.url_decode(user) or user
  return scheme .. rest, "Basic " .. pdk.encoding.base64_encode(decoded)
end

local function request_options(conf, authorization)
  local headers = { ["Content-Type"] = conf.content_type, Authorization = authorization }
  for name, value in pairs(conf.headers or {}) do headers[name] = value end
  return { method = conf.method, headers = headers, timeout = conf.timeout / 1000,
    keepalive = conf.keepalive > 0 and conf.keepalive / 1000 }
end

--- Makes the function that sends a batch, a list of JSON texts.
local function shipper(conf)
  local url, authorization = split_url(conf.http_endpoint)
  local options = request_options(conf, authorization)
  local is_single = conf.queue.max_batch_size == 1
  return function(batch)
    options.body = is_single and batch[1] or "[" .. table.concat(batch, ",") .. "]"
    local answer, problem = pdk.http.request(url, options)
    options.body = nil
    if not answer then return nil, problem end
    return answer.status < 400, ("status %d of %s"):format(answer.status, url:match "^[^?]*")
  end
end

--- The queue of a configuration is one that no other has, and the same after a reload that leaves it as it
-- is. Its name, which the log may show, tells no secrets.
local function name_of(conf)
  local digest = pdk.crypto.hash("sha256", assert(pdk.json.canonical(conf)))
  return pdk.encoding.hex_encode(digest):sub(1, 16)
end

local function fields_of(conf)
  local fields = {}
  for path, text in pairs(conf.custom_fields or {}) do
    local steps = {}
    for step in path:gmatch "[^.]+" do steps[#steps + 1] = step end
    fields[#fields + 1] = { path = path, steps = steps, render = text ~= "" and assert(pdk.template.compile(text)) }
  end
  table.sort(fields, function(a, b) return a.path < b.path end)
  return fields
end

local function makers_of(conf)
  local makers = {}
  for path, text in pairs(conf.custom_fields_by_lua or {}) do
    makers[#makers + 1] = { path = path, make = assert(code.compile(text, path)) }
  end
  table.sort(makers, function(a, b) return a.path < b.path end)
  return makers
end

--- Makes a sender: {name, options, ship} for queue.get, the custom fields, and those that Lua makes.
function M.new(conf)
  return { name = name_of(conf), options = queue_options(conf.queue), ship = shipper(conf), fields = fields_of(conf),
    makers = makers_of(conf) }
end

return M
