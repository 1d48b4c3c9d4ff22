--- An exchange as the plugin API sees it: the functions of src/lua/view.h, and what calls to them share.
-- Everything here works on the exchange of the task that runs.
local ffi = require "ffi"
local task = require "veloflux.runtime.task"
local add = require("veloflux.runtime.repeated").add
require "veloflux.str"

ffi.cdef [[
struct vf_request_view {
  uint32_t size;
  uint32_t http_version;
  struct vf_str method, target;
  struct vf_str path;
  struct vf_str raw_path;
  struct vf_str query;
  struct vf_str host;
  struct vf_str request_id;
  struct vf_str client_ip;
  struct vf_str peer_ip;
  uint32_t peer_port, client_port, listener_port;
  uint32_t is_trusted;
  uint32_t is_tls;
  uint64_t start_wall_ms;
  uint64_t content_length;
};
void vf_view_request(struct vf_exchange *ex, struct vf_request_view *out);
enum { VF_VIEW_METHOD, VF_VIEW_PATH, VF_VIEW_RAW_PATH, VF_VIEW_QUERY, VF_VIEW_HOST, VF_VIEW_REQUEST_ID,
  VF_VIEW_CLIENT_IP, VF_VIEW_PEER_IP, VF_VIEW_TENANT, VF_VIEW_UPSTREAM_URI };
struct vf_tls_view {
  uint32_t size, is_tls, is_resumed, has_certificate;
  struct vf_str version, cipher, server_name, fault;
};
void vf_view_tls(struct vf_exchange *ex, struct vf_tls_view *out);
size_t vf_view_client_chain(struct vf_exchange *ex, char *out, size_t room);
int vf_view_ask_certificate(struct vf_exchange *ex);
int vf_view_forbid_tickets(struct vf_exchange *ex);
void vf_view_text(struct vf_exchange *ex, int what, struct vf_str *out);
int vf_view_field(struct vf_exchange *ex, int side, const char *name, size_t len, uint32_t nth, struct vf_str *value);
uint32_t vf_view_field_at(struct vf_exchange *ex, int side, uint32_t index, struct vf_str *name, struct vf_str *value);
int vf_view_edit_field(struct vf_exchange *ex, int side, int edit, const char *name, size_t name_len,
                       const char *value, size_t value_len);
int vf_view_capture(struct vf_exchange *ex, uint32_t nth, struct vf_str *out);
int vf_view_set_path(struct vf_exchange *ex, const char *data, size_t len);
int vf_view_set_query(struct vf_exchange *ex, const char *data, size_t len);
int vf_view_set_method(struct vf_exchange *ex, const char *data, size_t len);
int vf_view_set_request_body(struct vf_exchange *ex, const char *data, size_t len);
int vf_view_set_pool(struct vf_exchange *ex, const char *name, size_t len);
int vf_view_set_timeouts(struct vf_exchange *ex, uint64_t connect_ms, uint64_t send_ms, uint64_t response_ms);
int vf_view_set_scheme(struct vf_exchange *ex, int is_tls);
int vf_view_set_tls_verify(struct vf_exchange *ex, int is_on);
int vf_view_set_tls_depth(struct vf_exchange *ex, uint32_t depth);
int vf_view_set_tls_store(struct vf_exchange *ex, const char *authorities, size_t len);
int vf_view_set_tls_identity(struct vf_exchange *ex, const char *chain, size_t chain_len, const char *key,
                             size_t key_len);
int vf_view_collect_body(struct vf_exchange *ex);
void vf_view_leave_body(struct vf_exchange *ex);
int vf_view_request_body(struct vf_exchange *ex, struct vf_str *out);
void vf_view_want_answer(struct vf_exchange *ex);
int vf_view_answer_body(struct vf_exchange *ex, struct vf_str *out);
int vf_view_set_answer_body(struct vf_exchange *ex, const char *data, size_t len);
struct vf_response_view {
  uint32_t size;
  uint32_t status;
  uint32_t upstream_status;
  uint32_t is_local;
  uint32_t is_plugins;
  uint32_t head_sent;
  uint64_t bytes_in, bytes_out;
  uint64_t start_ns, connect_ns, connected_ns, sent_ns, first_byte_ns, now_ns;
  struct vf_str reason;
  struct vf_str route, route_tenant, pool, backend, listener;
  uint32_t tries;
};
void vf_view_response(struct vf_exchange *ex, struct vf_response_view *out);
int vf_view_try(struct vf_exchange *ex, uint32_t nth, struct vf_str *out);
int vf_view_set_status(struct vf_exchange *ex, uint32_t status);
void vf_view_chunk(struct vf_exchange *ex, struct vf_str *out, uint32_t *is_last);
void vf_view_set_chunk(struct vf_exchange *ex, const char *data, size_t len);
int vf_view_answer(struct vf_exchange *ex, uint32_t status, const char *body, size_t len);
int vf_view_answer_field(struct vf_exchange *ex, const char *name, size_t name_len, const char *value,
                         size_t value_len);
void vf_view_forget_answer(struct vf_exchange *ex);
int vf_view_set_reason(struct vf_exchange *ex, const char *code, size_t len);
void vf_view_set_consumer(struct vf_exchange *ex, const char *name, size_t len);
uint64_t vf_view_body_limit(const struct vf_exchange *ex);
int vf_view_is_trusted(const struct vf_exchange *ex, const char *ip, size_t len);
int vf_view_set_target(struct vf_exchange *ex, const char *host, size_t len, uint32_t port);
void vf_view_want_balancer(struct vf_exchange *ex);
void vf_view_set_tries(struct vf_exchange *ex, uint32_t tries);
struct vf_route_view {
  uint32_t size;
  uint32_t path_kind;
  struct vf_str name, tenant, path, pool;
  uint64_t id;
  uint32_t strip_prefix, action;
  uint64_t methods;
  struct vf_str more_methods;
  uint64_t version;
  int32_t priority;
};
int vf_view_route(struct vf_exchange *ex, struct vf_route_view *out);
int vf_view_route_host(struct vf_exchange *ex, uint32_t nth, struct vf_str *out);
struct vf_condition_view { uint32_t kind, test; struct vf_str name, value; };
int vf_view_route_condition(struct vf_exchange *ex, uint32_t nth, struct vf_condition_view *out);
struct vf_service_view {
  uint32_t size;
  uint32_t is_tls, verify, depth;
  uint32_t protocol;
  uint32_t port;
  uint32_t max_tries;
  uint64_t connect_ms, write_ms, read_ms;
  struct vf_str tenant, name;
  uint64_t version;
};
int vf_view_service(struct vf_exchange *ex, struct vf_service_view *out);
void vf_log_pairs(int level, const char *event, const char *pairs);
]]
local C, ffi_string = ffi.C, ffi.string

local M = {}

M.REQUEST, M.RESPONSE, M.UPSTREAM = 0, 1, 2 -- enum vf_view_side
M.CLEAR, M.SET, M.ADD = 0, 1, 2 -- enum vf_view_edit
-- enum vf_view_text
M.METHOD, M.PATH, M.RAW_PATH, M.QUERY, M.HOST = C.VF_VIEW_METHOD, C.VF_VIEW_PATH, C.VF_VIEW_RAW_PATH,
  C.VF_VIEW_QUERY, C.VF_VIEW_HOST
M.REQUEST_ID, M.CLIENT_IP, M.PEER_IP, M.TENANT, M.UPSTREAM_URI = C.VF_VIEW_REQUEST_ID, C.VF_VIEW_CLIENT_IP,
  C.VF_VIEW_PEER_IP, C.VF_VIEW_TENANT, C.VF_VIEW_UPSTREAM_URI

local name_out, value_out = ffi.new "struct vf_str", ffi.new "struct vf_str"
local request_out, response_out = ffi.new "struct vf_request_view", ffi.new "struct vf_response_view"
local tls_out = ffi.new "struct vf_tls_view"
local last_out = ffi.new "uint32_t[1]"

--- Returns the request of the exchange as a struct that the next call fills anew.
function M.request()
  C.vf_view_request(task.run.ex, request_out)
  return request_out
end

--- Likewise for the TLS of the client's connection.
function M.tls()
  C.vf_view_tls(task.run.ex, tls_out)
  return tls_out
end

--- Returns the client's certificates as DER, one behind the other; nil when it has sent none.
function M.client_chain()
  local room = tonumber(C.vf_view_client_chain(task.run.ex, nil, 0))
  if room == 0 then return nil end
  local out = ffi.new("char[?]", room)
  return ffi_string(out, tonumber(C.vf_view_client_chain(task.run.ex, out, room)))
end

--- Before the handshake: asks for a client certificate; forbids that sessions are resumed. Return 0 when that is so.
function M.ask_certificate() return C.vf_view_ask_certificate(task.run.ex) end
function M.forbid_tickets() return C.vf_view_forbid_tickets(task.run.ex) end

--- Likewise for the answer and what is known of the exchange as a whole.
function M.response()
  C.vf_view_response(task.run.ex, response_out)
  return response_out
end

local function check(view) assert(view.size == 0 or view.size == ffi.sizeof(view), "another layout of a view") end
function M.check_layout() check(M.request()) check(M.response()) check(M.tls()) end

--- Returns a text of a view as a string, nil when there is none.
function M.text(str)
  if str.data == nil then return nil end
  return ffi_string(str.data, str.len)
end

--- Returns one text of the exchange, nil when there is none.
-- @param what M.METHOD to M.UPSTREAM_URI
function M.text_of(what)
  C.vf_view_text(task.run.ex, what, value_out)
  if value_out.data == nil then return nil end
  return ffi_string(value_out.data, value_out.len)
end

--- Returns the value of the first field called `name`, or of the nth one; nil when there is none.
function M.field(side, name, nth)
  if C.vf_view_field(task.run.ex, side, name, #name, nth and nth - 1 or 0, value_out) == 0 then return nil end
  return ffi_string(value_out.data, value_out.len)
end

--- Returns the values of all fields called `name`, a list.
function M.field_values(side, name)
  local values, nth = {}, 0
  while C.vf_view_field(task.run.ex, side, name, #name, nth, value_out) ~= 0 do
    nth = nth + 1
    values[nth] = ffi_string(value_out.data, value_out.len)
  end
  return values
end

--- Returns all fields as a table of lower-case names; repeated ones are lists. At most `max` fields.
-- @return table, and "truncated" when there are more
function M.fields(side, max)
  local fields, count, index = {}, 0, 0
  while true do
    index = C.vf_view_field_at(task.run.ex, side, index, name_out, value_out)
    if index == 0 then return fields end
    count = count + 1
    if count > max then return fields, "truncated" end
    add(fields, ffi_string(name_out.data, name_out.len):lower(), ffi_string(value_out.data, value_out.len))
  end
end

local PROBLEMS = {
  [-1] = "is not a valid name of a header field", [-2] = "has characters that are not allowed there",
  [-3] = "is written by the proxy itself", [-4] = "has been sent already", [-5] = "out of memory",
  [-6] = "is not known",
}

--- Returns what a negative result of a C function means.
function M.problem(rc) return PROBLEMS[rc] or "cannot be done" end

--- Edits a field. Framing and connection fields are the proxy's: such a call changes nothing.
-- @param level of the caller for errors
function M.edit(side, how, name, value, level)
  local rc = C.vf_view_edit_field(task.run.ex, side, how, name, #name, value, #value)
  if rc ~= 0 and rc ~= -3 then error(("header %q %s"):format(name, M.problem(rc)), level + 1) end
end

--- Returns the piece that a body filter works on, and whether it is the last.
function M.chunk()
  C.vf_view_chunk(task.run.ex, value_out, last_out)
  return ffi_string(value_out.data, value_out.len), last_out[0] ~= 0
end

--- Returns the content of an answer that was collected as a whole, or nil.
function M.answer_body()
  if C.vf_view_answer_body(task.run.ex, value_out) == 0 then return nil end
  return ffi_string(value_out.data, value_out.len)
end

--- Returns the addresses of the backends that were tried, "192.0.2.1:80", in order.
function M.tries()
  local list = {}
  while C.vf_view_try(task.run.ex, #list, value_out) ~= 0 do list[#list + 1] = M.text(value_out) or "" end
  return list
end

--- Returns a capture of the route's pattern, or nil.
function M.capture(nth)
  if C.vf_view_capture(task.run.ex, nth, value_out) == 0 then return nil end
  return ffi_string(value_out.data, value_out.len)
end

--- Waits for the request's content.
-- @return string, or nil when it is larger than plugins may have
function M.request_body()
  if C.vf_view_collect_body(task.run.ex) == 0 then
    if task.obstacle() then C.vf_view_leave_body(task.run.ex) end
    task.wait()
  end
  if C.vf_view_request_body(task.run.ex, value_out) == 0 then return nil end
  return ffi_string(value_out.data, value_out.len)
end

--- Notes the consumer's name for the access log.
function M.set_consumer(name) C.vf_view_set_consumer(task.run.ex, name, #name) end

--- Returns how many bytes of content plugins may keep of one exchange.
function M.body_limit() return tonumber(C.vf_view_body_limit(task.run.ex)) end

--- Returns the values that live as long as the exchange (or the task): {shared, plugins, ...}; these two are made by
-- pdk/ctx.lua for whoever asks first.
function M.values()
  local run = task.run
  local values = task.values[run.context]
  if not values then
    values = {}
    task.values[run.context], run.has_values = values, 1
  end
  return values
end

return M
