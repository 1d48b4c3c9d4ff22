--- The whole surface of the plugin API: which functions there are, that each is documented, and where it may be
-- called. The modules are loaded without the C half of VeloFlux.
package.path = "./scripts/?.lua;" .. package.path
local surface = require "pdk.surface"

--- Names that Kong's handlers know, with their semantics; handlers that use only these are ported by one line.
local SHARED = {
  request = "get_scheme get_host get_port get_forwarded_scheme get_forwarded_host get_forwarded_port "
    .. "get_forwarded_path get_forwarded_prefix get_http_version get_method get_path get_raw_path "
    .. "get_path_with_query get_raw_query get_query_arg get_query get_header get_headers get_raw_body get_body "
    .. "get_start_time get_uri_captures",
  ["service.request"] = "set_scheme set_path set_raw_query set_method set_query set_header set_headers set_raw_body "
    .. "set_body add_header clear_header clear_query_arg enable_buffering disable_tls",
  service = "set_upstream set_target set_target_retry_callback set_retries set_timeouts set_tls_cert_key "
    .. "set_tls_verify set_tls_verify_depth set_tls_verify_store",
  ["service.response"] = "get_status get_header get_headers get_raw_body get_body",
  response = "get_status get_header get_headers get_source get_raw_body set_status set_header set_headers "
    .. "set_raw_body add_header clear_header exit error",
  client = "get_ip get_forwarded_ip get_port get_forwarded_port get_credential get_consumer get_protocol "
    .. "load_consumer authenticate tls.request_client_certificate tls.disable_session_reuse "
    .. "tls.get_full_client_certificate_chain tls.set_client_verify tls.get_client_verify tls.get_info",
  cache = ":get :probe :renew :invalidate :invalidate_local",
  vault = "is_reference parse_reference get try update",
  log = "debug info notice warn err crit alert emerg inspect serialize set_serialize_value deprecation",
  router = "get_route get_service",
  ip = "is_trusted",
  node = "get_id get_hostname get_memory_stats",
  plugin = "get_id",
  table = "new clear merge",
  tracing = "active_span set_active_span start_span",
}

--- Beyond them.
local OURS = {
  ip = "set",
  log = "event to_text",
  request = "get_id",
  response = "get_chunk set_chunk",
  client = "load_credential verify_password tenant",
  tracing = "process_span",
  http = "request get head post",
  socket = "tcp udp connect",
  redis = "new is_error",
  timer = "sleep after every",
  queue = "get",
  crypto = "hash hasher hmac hmac_key hkdf pbkdf2 aes_gcm key equals random_bytes uuid password_hash password_verify "
    .. "base64_encode base64_decode base64url_encode base64url_decode hex_encode hex_decode",
  json = "decode encode canonical lenient array is_array",
  re = "match find gmatch sub gsub",
  shared = "dict",
  auth = "is_settled accept refuse",
  template = "compile render",
  metrics = "counter gauge histogram",
  model = "route pool consumer plugins",
  ratelimit = "gcra peek_gcra window peek_window",
  encoding = "base64_encode base64_decode base64url_encode base64url_decode hex_encode hex_decode url_encode "
    .. "url_decode",
}

--- What objects can do.
local METHODS = {
  ["pdk.shared.dict"] = "get set add replace incr cas delete quota lpush rpush lpop rpop llen ttl expire keys "
    .. "flush_all flush_expired capacity free_space",
  ["pdk.metrics.counter"] = "inc",
  ["pdk.metrics.gauge"] = "set inc dec",
  ["pdk.metrics.histogram"] = "observe",
  ["pdk.timer.handle"] = "cancel",
  ["pdk.queue.queue"] = "push stats",
  ["pdk.http.response"] = "close",
  ["pdk.socket.tcp"] = "connect set_timeout set_timeouts set_max_input send receive receive_any receive_until shutdown "
    .. "set_keepalive get_reused_times get_peer get_local close",
  ["pdk.socket.udp"] = "set_peer set_timeouts send receive close",
  ["pdk.redis.client"] = "command pipeline transaction eval with subscribe",
  ["pdk.redis.subscription"] = "close",
  ["pdk.tracing.span"] = "set_attribute add_event record_error set_status finish",
  ["pdk.crypto.Digest"] = "update final of verify",
  ["pdk.crypto.Cipher"] = "encrypt decrypt seal open",
  ["pdk.crypto.Key"] = "sign verify is_for has_private kind_name jwk thumbprint",
}

local groups, missing = surface.groups()

local by_name = {}
for _, group in ipairs(groups) do
  by_name["pdk." .. group.name] = group
  for _, entry in ipairs(group.functions) do by_name[entry.name] = entry end
end

local function wanted_names()
  local list = {}
  for _, lists in ipairs { SHARED, OURS } do
    for group, names in pairs(lists) do
      for name in names:gmatch "%S+" do
        list[#list + 1] = "pdk." .. group .. (name:find "^:" and name or "." .. name)
      end
    end
  end
  table.sort(list)
  return list
end

describe("the plugin API", function()
  it("has every function that it promises", function()
    local absent = {}
    for _, name in ipairs(wanted_names()) do
      if not by_name[name] then absent[#absent + 1] = name end
    end
    assert.equal("", table.concat(absent, " "))
  end)

  it("has every method of the objects that it hands out", function()
    local methods, absent = {}, {}
    for _, group in ipairs(groups) do
      for _, object in ipairs(group.objects) do
        for _, method in ipairs(object.methods) do methods[object.class.name .. ":" .. method.name] = true end
      end
    end
    for class, names in pairs(METHODS) do
      for name in names:gmatch "%S+" do
        if not methods[class .. ":" .. name] then absent[#absent + 1] = class .. ":" .. name end
      end
    end
    assert.equal("", table.concat(absent, " "))
  end)

  it("has a module for each group", function() assert.same({}, missing) end)

  -- Label values of metrics are six arguments in the code: `...`.
  local function assert_documented(name, doc)
    for argument in (doc.arguments or ""):gmatch "[%w_]+" do
      local found = #argument == 1
      for _, param in ipairs(doc.params) do found = found or param.name == argument end
      assert.is_true(found, ("%s: the parameter %s is not documented"):format(name, argument))
    end
  end

  it("documents every function, its parameters and its objects", function()
    for _, group in ipairs(groups) do
      assert.is_true(#group.lines > 0, group.name)
      for _, entry in ipairs(group.functions) do
        assert.is_truthy(entry.doc, entry.name .. " has no docstring")
        assert.is_true(#entry.doc.lines > 0, entry.name)
        assert_documented(entry.name, entry.doc)
      end
      for _, object in ipairs(group.objects) do
        for _, method in ipairs(object.methods) do
          assert.is_true(#method.lines > 0, object.class.name .. ":" .. method.name)
          assert_documented(object.class.name .. ":" .. method.name, method)
        end
      end
    end
  end)

  it("says under its own name that a function cannot be called in a phase", function()
    for _, group in ipairs(groups) do
      for _, entry in ipairs(group.functions) do
        if type(entry.phases) == "table" then assert.equal((entry.name:gsub(":", ".")), "pdk." .. entry.said) end
      end
    end
  end)

  it("checks the phase in everything that concerns a request", function()
    for _, group in ipairs(groups) do
      for _, entry in ipairs(group.functions) do
        local of_request = group.name:find "^service" or group.name == "request" or group.name == "response"
          or group.name == "client" or group.name == "router" or entry.name == "pdk.ip.is_trusted"
        if of_request then assert.equal("table", type(entry.phases), entry.name) end
      end
    end
  end)
end)
