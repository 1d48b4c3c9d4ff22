local pdk = require "veloflux.pdk"
local code = require "veloflux.plugins.http-log.code"
local typedefs = require "kong.db.schema.typedefs"

local OURS = { host = true, ["content-length"] = true, ["content-type"] = true }

local function is_endpoint(url)
  local scheme, authority, rest = url:match "^(%a[%w+.-]*)://([^/?#]+)([^#]*)$"
  if not scheme then return nil, "expected a URL like http://logs.example.com:9000/in" end
  scheme = scheme:lower()
  if scheme ~= "http" and scheme ~= "https" then return nil, ("expected http or https, got %s"):format(scheme) end
  if rest:find "[%c ]" then return nil, "has a space or a control character: percent-encode it" end
  return typedefs.url.custom_validator("http://" .. authority:gsub("^.*@", "") .. "/")
end

local function is_header(name)
  if OURS[name:lower()] then return nil, ("%s is set by the plugin itself"):format(name) end
  return true
end

local function is_value(text)
  if text:find "[%z\1-\8\10-\31\127]" then return nil, "has characters that a header field cannot have" end
  return true
end

local function is_template(text)
  local render, problem = pdk.template.compile(text)
  return render ~= nil, problem
end

local function is_lua(text)
  local chunk, problem = code.compile(text, "field")
  return chunk ~= nil, problem
end

local function is_path(key)
  if not ("." .. key .. "."):find "%.%." then return true end
  return nil, "expected names joined by dots"
end

local function has_one_authorization(config)
  if not config.http_endpoint:find "^[^/]+//[^/?#]*@" then return true end
  for name in pairs(config.headers or {}) do
    if name:lower() == "authorization" then
      return nil, "a user in http_endpoint and the header Authorization exclude each other"
    end
  end
  return true
end

local queue = { type = "record", required = true, order = 7, description = "How entries wait, in each worker.",
  fields = {
    max_batch_size = { type = "integer", default = 1, between = { 1, 1000000 }, order = 1, unit = "entries",
      description = "Entries of one request. 1 sends each as an object of its own, more as an array." },
    max_coalescing_delay = { type = "number", default = 1, between = { 0, 3600 }, order = 2, unit = "seconds",
      description = "How long the first entry of a batch waits for others." },
    max_entries = { type = "integer", default = 10000, between = { 1, 1000000 }, order = 3, unit = "entries",
      description = "What may wait; beyond it the eldest are lost." },
    max_bytes = { type = "integer", gt = 0, order = 4, unit = "bytes",
      description = "Likewise, in bytes; 16 MiB if not given." },
    max_retry_time = { type = "number", default = 60, min = 0, order = 5, unit = "seconds",
      description = "After this time a batch is given up." },
    initial_retry_delay = { type = "number", default = 0.01, between = { 0.001, 1000000 }, order = 6, unit = "seconds",
      description = "After which a batch is sent again the first time; it doubles each time." },
    max_retry_delay = { type = "number", default = 60, between = { 0.001, 1000000 }, order = 7, unit = "seconds",
      description = "The longest such delay." },
    concurrency_limit = { type = "integer", default = 1, one_of = { 1 }, order = 8,
      description = "Batches under way at once, in each worker." },
  },
}

return {
  name = "http-log",
  fields = { { config = { type = "record", custom_validator = has_one_authorization, fields = {
    { http_endpoint = { type = "string", required = true, secret = true, order = 1, custom_validator = is_endpoint,
      description = "Where entries go, as a URL. A user and password in it are sent as Basic authentication." } },
    { method = { type = "string", default = "POST", one_of = { "POST", "PUT", "PATCH" }, order = 2,
      description = "The method." } },
    { content_type = { type = "string", default = "application/json", order = 3,
      one_of = { "application/json", "application/json; charset=utf-8" }, description = "The Content-Type." } },
    { timeout = { type = "number", default = 10000, between = { 1, 3600000 }, order = 4, unit = "milliseconds",
      description = "For sending a batch and reading the answer." } },
    { keepalive = { type = "number", default = 60000, between = { 0, 3600000 }, order = 5, unit = "milliseconds",
      description = "How long a connection waits for the next batch; 0 closes it." } },
    { headers = { type = "map", order = 6, keys = typedefs.header_name { custom_validator = is_header },
      values = { type = "string", referenceable = true, len_min = 0, custom_validator = is_value },
      description = "Further header fields." } },
    { queue = queue },
    { custom_fields = { type = "map", order = 8, merge = "deep",
      keys = { type = "string", custom_validator = is_path },
      values = { type = "string", len_min = 0, custom_validator = is_template },
      description = "Members that are set in each entry: a path like request.team, and a template over the entry like "
        .. "{{ request.headers.x-team }}; an empty one takes the member out." } },
    { custom_fields_by_lua = { type = "map", order = 9, merge = "deep",
      keys = { type = "string", custom_validator = is_path },
      values = { type = "string", len_max = 64 * 1024, custom_validator = is_lua },
      description = "Likewise, with Lua that returns the value: `return pdk.request.get_host()`; nil takes the member "
        .. "out." } },
  }, shorthand_fields = {
    { retry_count = { type = "integer", deprecated = "queue.max_retry_time bounds retries",
      func = function() return {} end } },
    { queue_size = { type = "integer", between = { 1, 1000000 }, deprecated = "use queue.max_batch_size",
      func = function(size) return { queue = { max_batch_size = size } } end } },
    { flush_timeout = { type = "number", between = { 0, 3600 }, deprecated = "use queue.max_coalescing_delay",
      func = function(seconds) return { queue = { max_coalescing_delay = seconds } } end } },
  } } } },
}
