--- Tokens as they come: JSON Web Tokens (RFC 7519) in the compact form of a JWS (RFC 7515 section 7.1), read as RFC
-- 8725 wants it. Reading proves nothing: what a token says counts once its signature has been verified.
local pdk = require "veloflux.pdk"
local algorithms = require "veloflux.plugins.jwt.algorithms"
local encoding, json = pdk.encoding, pdk.json

local M = {}

local MAX_BYTES = 8192
local MAX_DEPTH = { max_depth = 16 }
local MAX_NAME_BYTES = 256 -- of a kid

-- Decodes one part that has to be a JSON object. Names that occur twice are refused by the decoder.
local function object(part, name)
  local text = encoding.base64url_decode(part)
  if not text then return nil, name .. " is not base64url" end
  local value = json.decode(text, MAX_DEPTH)
  if type(value) ~= "table" or json.is_array(value) then return nil, name .. " is not a JSON object" end
  return value
end

-- A token whose extensions are not known must not be accepted (RFC 7515 section 4.1.11); `b64` is one (RFC 7797).
local function check_header(header)
  if not algorithms.IS_KNOWN[header.alg] then return "invalid alg" end
  if header.crit ~= nil then return "crit names what is not known" end
  if header.b64 ~= nil and header.b64 ~= true then return "content that is not base64url" end
  if header.typ ~= nil and type(header.typ) ~= "string" then return "typ is not a string" end
  local kid = header.kid
  if kid ~= nil and (type(kid) ~= "string" or #kid > MAX_NAME_BYTES) then return "kid is not a short string" end
end

-- Returns the positions of the dots; nil unless there are two.
local function find_dots(text)
  local first = text:find(".", 1, true)
  local second = first and text:find(".", first + 1, true)
  if not second or text:find(".", second + 1, true) then return nil end
  return first, second
end

--- Reads a token.
---@param text string
---@return table|nil token {header, claims, signed, signature}: `signed` is what `signature` is of
---@return string|nil problem
function M.parse(text)
  if #text > MAX_BYTES then return nil, "longer than 8 KiB" end
  local first, second = find_dots(text)
  if not first then return nil, "not three parts" end
  local header, claims, problem
  header, problem = object(text:sub(1, first - 1), "the header")
  problem = problem or check_header(header)
  if problem then return nil, problem end
  claims, problem = object(text:sub(first + 1, second - 1), "the payload")
  if problem then return nil, problem end
  local signature = encoding.base64url_decode(text:sub(second + 1))
  if not signature or signature == "" then return nil, "the signature is not base64url" end
  return { header = header, claims = claims, signed = text:sub(1, second - 1), signature = signature }
end

local PREFIX = "application/"

--- Says whether the type of a token is one of those that are accepted (RFC 8725 section 3.11). A token without type
-- is a plain one, "JWT".
---@param token table
---@param types table<string, true> in lower case, without "application/"
---@return boolean
function M.has_type(token, types)
  local name = (token.header.typ or "JWT"):lower()
  if name:sub(1, #PREFIX) == PREFIX then name = name:sub(#PREFIX + 1) end
  return types[name] == true
end

return M
