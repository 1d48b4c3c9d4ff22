--- Bytes as text and back: Base64, hexadecimal and percent-encoding.
--
-- Decoders are strict: characters outside the alphabet, wrong or missing padding, white space and bits
-- that no byte uses are refused, so one text stands for one sequence of bytes. A decoder returns nil and
-- a message with the byte where it stopped. A value that is no string raises an error.
local ffi = require "ffi"
local scratch = require "veloflux.scratch"

ffi.cdef [[
int vf_base64_encode(const char *data, size_t len, char *out, int flags);
int vf_base64_decode(const char *text, size_t len, char *out, int flags);
int vf_hex_encode(const char *data, size_t len, char *out);
int vf_hex_decode(const char *text, size_t len, char *out);
int vf_url_encode(const char *data, size_t len, char *out);
int vf_url_decode(const char *text, size_t len, char *out, int plus);
]]
local C = ffi.C
local bytes = scratch.bytes
local to_string = ffi.string

local URL, UNPADDED, LOOSE = 1, 2, 4 -- enum vf_base64_flags

---@class pdk.encoding
local M = {}

local function expect_string(value, name)
  if type(value) ~= "string" then error(name .. ": expected a string, got " .. type(value), 3) end
end

local function result(out, n, len, kind)
  if n >= 0 then return to_string(out, n) end
  if -1 - n >= len then return nil, "not " .. kind .. ": it ends too early" end
  return nil, "not " .. kind .. ": byte " .. -n
end

--- Encodes in Base64 with padding (RFC 4648 section 4).
---@param data string
---@return string
function M.base64_encode(data)
  expect_string(data, "base64_encode")
  local out = bytes(#data * 2 + 4)
  return to_string(out, C.vf_base64_encode(data, #data, out, 0))
end

--- Decodes Base64 (RFC 4648 section 4).
---@param text string
---@param loose? boolean true: padding may be left out
---@return string? data nil when it is no Base64
---@return string? err
function M.base64_decode(text, loose)
  expect_string(text, "base64_decode")
  local out = bytes(#text + 2)
  return result(out, C.vf_base64_decode(text, #text, out, loose and LOOSE or 0), #text, "Base64")
end

--- Encodes in the Base64 of URLs, without padding, as JOSE has it (RFC 7515 section 2).
---@param data string
---@return string
function M.base64url_encode(data)
  expect_string(data, "base64url_encode")
  local out = bytes(#data * 2 + 4)
  return to_string(out, C.vf_base64_encode(data, #data, out, URL + UNPADDED))
end

--- Decodes the Base64 of URLs, which has no padding.
---@param text string
---@return string? data nil when it is none
---@return string? err
function M.base64url_decode(text)
  expect_string(text, "base64url_decode")
  local out = bytes(#text + 2)
  return result(out, C.vf_base64_decode(text, #text, out, URL + UNPADDED), #text, "base64url")
end

--- Encodes in lower-case hexadecimal digits.
---@param data string
---@return string
function M.hex_encode(data)
  expect_string(data, "hex_encode")
  local out = bytes(#data * 2)
  return to_string(out, C.vf_hex_encode(data, #data, out))
end

--- Decodes hexadecimal digits of either case.
---@param text string
---@return string? data nil when it is no pairs of digits
---@return string? err
function M.hex_decode(text)
  expect_string(text, "hex_decode")
  local out = bytes(#text)
  return result(out, C.vf_hex_decode(text, #text, out), #text, "hexadecimal")
end

--- Percent-encodes every byte but A-Z a-z 0-9 - . _ ~ (RFC 3986 section 2.3).
---@param data string
---@return string
function M.url_encode(data)
  expect_string(data, "url_encode")
  local out = bytes(#data * 3)
  return to_string(out, C.vf_url_encode(data, #data, out))
end

--- Decodes percent-encoding; other bytes stay.
---@param text string
---@param form? boolean true: + is a space, as in queries and forms
---@return string? data nil when a % has no two digits behind it
---@return string? err
function M.url_decode(text, form)
  expect_string(text, "url_decode")
  local out = bytes(#text)
  return result(out, C.vf_url_decode(text, #text, out, form and 1 or 0), #text, "percent-encoding")
end

return M
