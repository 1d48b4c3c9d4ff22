--- Idempotency-Key on POST: the answer to the first request is kept for a day and given again to those that repeat
-- it. While the first is under way the others get 409, and 422 when they say something else.
-- Answers may hold a secret that is shown once, so they are sealed in the store. Those that are very long are not kept:
-- that is said to who repeats the request, which is not done again.
local await = require "veloflux.admin.await"
local contents = require "veloflux.content"
local crypto = require "veloflux.pdk.crypto"
local json = require "veloflux.pdk.json"
local long = require "veloflux.admin.kept_content"
local problem = require "veloflux.admin.problem"
local slices = require "veloflux.slices"
local spools = require "veloflux.spool"

local M = {}
local Idempotency = {}
Idempotency.__index = Idempotency

local BUCKET, DAY_MS, MAX_KEY = "idempotency", 24 * 3600 * 1000, 255
local CLAIM, CLAIM_MS = ".claim", 600 * 1000 -- a node that is killed in between holds it so long
local LONG = 64 * 1024 -- bytes of a text that is kept in pieces

local function digest(...) return crypto.hex_encode(crypto.hash("sha256", table.concat({ ... }, "\0"))) end

local PIECE = 256 * 1024 -- bytes that are hashed at once

--- Returns what tells a body from others: itself, or its hash when it is in a file.
local function body_of(request)
  local spool = request.spool
  if not spool then return request.body end
  local hasher = crypto.hasher "sha256"
  for first = 0, spool.len - 1, PIECE do
    slices.look()
    hasher:update(spools.text(spool, first, PIECE))
  end
  return hasher:final()
end

local function key_of(request)
  local key = request.headers["idempotency-key"]
  if #key > MAX_KEY or key == "" or key:find "[^\33-\126]" then
    return nil, problem.new("invalid", ("Idempotency-Key has to be 1 to %d visible characters."):format(MAX_KEY))
  end
  local identity = request.identity -- names of keys may be given anew, to another tenant's
  return digest(identity.tenant and identity.tenant .. "/" .. identity.name or identity.name, request.path, key)
end

local function unavailable()
  return problem.new("unavailable", "The store cannot be reached, so Idempotency-Key cannot be honoured.",
    { headers = { "Retry-After", "1" } })
end

--- Which field of an answer is kept in pieces, nil: none.
local function long_field(result)
  if result.content then return "content" end
  for _, field in ipairs { "json_text", "body" } do
    local text = result[field]
    if text and (#text > LONG or not json.encode(text)) then return field end
  end
end

--- The answer to who repeats a request whose answer is not there any more.
local function not_kept(bytes)
  return problem.new("conflict", ("The request with this Idempotency-Key has been done; its answer had %d bytes, too "
    .. "many to be kept. Ask with another key."):format(bytes))
end

--- Puts the long field of a kept answer in again. Returns the answer, or a problem.
local function complete(context, key, record)
  local result, field = record.result, record.field
  if not field then return result end
  local content = record.pieces and long.fetch(context, BUCKET, key, record.pieces)
  if not content then return not_kept(record.bytes) end
  if field == "content" and type(content) ~= "string" then
    result.content = content
  else
    result[field == "content" and "body" or field] = contents.piece(content)
    contents.close(content)
  end
  return result
end

--- Returns the kept answer, nil when there is none; or nil and a problem.
local function kept(context, key, fingerprint)
  local err, text = await.call(function(callback) context.store():get(BUCKET, key, callback) end)
  if err then return nil, unavailable() end
  text = text and context.unseal(text)
  local record = text and json.decode(text)
  if not record then return nil end
  if record.fingerprint ~= fingerprint then
    return nil, problem.new("key_reused", "This Idempotency-Key was used for another request.")
  end
  local result = complete(context, key, record)
  if problem.is(result) then return nil, result end
  result.headers = result.headers or {}
  result.headers[#result.headers + 1], result.headers[#result.headers + 2] = "Idempotency-Replayed", "true"
  return result
end

--- Makes what is kept of an answer. Long content is kept beside it.
local function record_of(context, key, fingerprint, result)
  local field = long_field(result)
  if not field then return { fingerprint = fingerprint, result = result } end
  local rest, content = {}, result[field]
  for name, value in pairs(result) do
    if name ~= field then rest[name] = value end
  end
  local bytes = contents.size(content)
  local pieces = bytes <= long.MAX_BYTES and long.keep(context, BUCKET, key, content, DAY_MS) or nil
  return { fingerprint = fingerprint, result = rest, field = field, bytes = bytes, pieces = pieces }
end

local function keep(context, key, fingerprint, result)
  local text = json.encode(record_of(context, key, fingerprint, result))
  if not text then return end
  await.call(function(callback) context.store():put(BUCKET, key, context.seal(text), DAY_MS, callback) end)
end

--- Makes what remembers answers.
-- @param context table: is_shared() -> boolean: nodes share it, store() -> store or nil, seal(text), unseal(text),
-- folder() -> where files without a name are
function M.new(context) return setmetatable({ context = context, under_way = {} }, Idempotency) end

--- Refuses what is under way already. Returns nil, or a problem.
local function refuse_second(earlier, fingerprint)
  if earlier == nil then return nil end
  if earlier ~= fingerprint then
    return problem.new("key_reused", "This Idempotency-Key is in use for another request.")
  end
  return problem.new("in_progress", "The request with this Idempotency-Key is still under way.",
    { headers = { "Retry-After", "1" } })
end

--- Claims a key among the nodes that share the store. Returns nil, or a problem: another node is at it.
local function claim(context, key, fingerprint)
  local store = context.store()
  local err, is_mine = await.call(function(callback)
    store:claim(BUCKET, key .. CLAIM, fingerprint, CLAIM_MS, callback)
  end)
  if err then return unavailable() end
  if is_mine then return nil end
  local _, earlier = await.call(function(callback) store:get(BUCKET, key .. CLAIM, callback) end)
  return refuse_second(earlier or fingerprint, fingerprint)
end

local function give_back(context, key)
  local store = context.store()
  if store then store:delete(BUCKET, key .. CLAIM, function() end) end -- else it ends with its time
end

local function serve_and_keep(self, request, handler, key, fingerprint)
  local answer = handler(request)
  if (answer.status or 200) < 500 then keep(self.context, key, fingerprint, answer) end
  return answer
end

function Idempotency:serve_once(request, handler, key, fingerprint)
  local context = self.context
  local is_shared = context.is_shared()
  local refused = is_shared and claim(context, key, fingerprint) or nil
  if refused then return refused end
  local ok, result = xpcall(function()
    local before, bad = kept(context, key, fingerprint)
    return before or bad or serve_and_keep(self, request, handler, key, fingerprint)
  end, debug.traceback)
  if is_shared then give_back(context, key) end
  if not ok then error(result, 0) end
  return result
end

--- Serves a request by `handler`: a POST with a key at most once. Yields.
function Idempotency:serve(request, handler)
  if request.method ~= "POST" or not request.headers["idempotency-key"] then return handler(request) end
  local key, bad = key_of(request)
  if not key then return bad end
  if not self.context.store() then return unavailable() end
  local fingerprint = digest(request.query or "", request.headers["content-type"] or "", body_of(request))
  bad = refuse_second(self.under_way[key], fingerprint)
  if bad then return bad end
  self.under_way[key] = fingerprint
  local ok, result = xpcall(self.serve_once, debug.traceback, self, request, handler, key, fingerprint)
  self.under_way[key] = nil
  if not ok then error(result, 0) end
  return result
end

return M
