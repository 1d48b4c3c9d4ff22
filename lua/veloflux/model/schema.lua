--- One definition for everything: what a field is, what is allowed, what it says when it is not.
--
-- A definition is a table of attributes:
--   type              string, integer, number, boolean, duration, size, address, network, path, foreign,
--                     pem (a file, or PEM text: model/pem.lua), list (array, set), map, record, shape,
--                     tree (any JSON), unavailable
--   description       for people: docs, API
--   required          the field must be there
--   default           as the conf file would say it
--   one_of, match, len_min, len_max, between, gt, min, max       what values are allowed; more of
--                     these in model/rules.lua
--   off, words        besides: `off` (math.huge) and words that stay as they are
--   exact             of a network: its address has to be the first of it
--   expects           what a message says was expected, instead of the type's own words
--   elements          of a list; unique: no two are equal; unique_by: function(element) -> key, of which
--                     no two are equal
--   keys, values      of a map
--   fields            of a record: { { name = definition }, ... } or { name = definition }
--   entity_checks     of a record: { { mutually_exclusive = {...} }, { only_one_of = {...} } }, and others
--                     of model/entity_checks.lua
--   shorthand_fields  of a record: other fields in which something may be written, see record.lua
--   choose            of a variant: which record it is, see containers.lua
--   allows            of a tree: set of scalar, list and map; `expects` says which
--   scalar, list, map of a shape: a definition for each form in which the value may be written
--   reference         of a foreign: the kind of entity
--   located           of a record: keeps where it stood, as `_file`, `_line` and `_node`
--   custom_validator  function(value) -> true, or nil, message and (of a record) the field
--   secret            never shown; may be written as a reference, {file:/path} or {vault://env/NAME}: see
--                     veloflux/vault.lua. referenceable: may be written so
--   unit              what a number counts
--   err               what a message says instead of all that
--   compiled          a type that was compiled already, instead of a definition
--   holder            a table whose field `compiled` becomes the compiled type: for validators that need it
--   deprecated        true or a text: its use is noted among the warnings
--
-- `compile` makes a type of it:
--   read(reader, index)     the value at a node; nil after noting what is wrong
--   encode(value, out)      appends JSON text that reads back as the same value
--   write(value, out)       appends JSON text for those who use the value: complete, with its defaults;
--                           times are milliseconds, sizes bytes, `off` is false
--   default                 the value of a field that is not there
-- A record holds only the fields that were there and falls back to the defaults through its metatable;
-- so defaults cost nothing, and what was said can be told from what was not.
local scalars = require "veloflux.model.scalars"
local rules = require "veloflux.model.rules"
local containers = require "veloflux.model.containers"
local tree = require "veloflux.model.tree"
local json = require "veloflux.model.json"
local reader = require "veloflux.model.reader"
local document = require "veloflux.model.document"
local expand = require "veloflux.model.expand"
local vault = require "veloflux.vault"
local pem = require "veloflux.model.pem"
local record_type = require "veloflux.model.record"

local M = {}

local READERS = { list = containers.list, array = containers.list, set = containers.list, map = containers.map,
  record = containers.record, shape = containers.shape, variant = containers.variant,
  unavailable = containers.unavailable, opaque = containers.opaque, tree = tree.tree }

local function read_secret_file(path)
  local wrong = pem.unreadable(path)
  if wrong then return nil, wrong end
  local file, problem = io.open(path, "rb")
  if not file then return nil, problem end
  local text = file:read "*a"
  file:close()
  if not text then return nil, path .. ": not a file" end
  return (text:gsub("\r?\n$", ""))
end

--- Returns the reference that a node is, quoted or as YAML reads it bare: a map of one key; nil when it is none.
local function reference_at(where, index)
  local node, text = where.nodes[index], nil
  if node.kind == document.MAP and node.len == 1 and where:is_null(where.nodes[node.first].next) then
    text = "{" .. document.text(where.document, node.first) .. "}"
  elseif node.kind == document.SCALAR then
    text = document.text(where.document, index)
  end
  return vault.is_meant(text) and vault.absolute(text, where.dir) or nil
end

--- Returns what stands inside of {sealed:...}.
local function sealed_text(where, index)
  if where.nodes[index].kind ~= document.SCALAR then return nil end
  return document.text(where.document, index):match "^{sealed:(%x+)}$"
end

--- Reads a scalar that may stand in a file or in the environment.
-- @return its text, and how it was written if that is something else, so that exports repeat that
local function read_reference(where, index, expected)
  local reference = reference_at(where, index)
  if reference then
    local parsed, problem = vault.parse(reference)
    local text
    if parsed then text, problem = vault.resolve(parsed, where.env, read_secret_file) end
    if not text then return where:fail(index, "%s", problem) end
    return text, reference
  end
  local sealed = where.unseal and sealed_text(where, index)
  if sealed then
    local text = where.unseal(sealed)
    if not text then return where:fail(index, "is sealed with another key") end
    return text
  end
  local text = where:text(index, expected)
  local written = text and document.text(where.document, index)
  if written and written:find "^%${[%a_][%w_]*}$" or written and written:find "^%${[%a_][%w_]*:%-}$" then
    return text, written
  end
  return text -- with a word of its own: that may be the secret
end

--- Reads a field of PEM text; the raw text of one that came from a file is its path.
local function read_pem(where, index, text, raw, attr)
  local content, path = pem.open(text, where.dir, attr.secret)
  if not content then return where:break_rule("type", index, "%s", path) end
  return content, path or raw
end

local function ask(where, index, check, value, rule)
  local ok, message, broken = check(value)
  if ok then return value end
  return where:break_rule(broken or rule, index, "%s", message or "is not allowed")
end

--- Messages about secrets do not repeat them.
local function without_value(check)
  return function(value)
    local ok, _, rule = check(value)
    if ok then return true end
    return nil, "expected another value", rule
  end
end

local function compile_words(attr)
  if not attr.words then return nil end
  local words = {}
  for _, word in ipairs(attr.words) do words[word] = true end
  return words
end

local function encoder_of(format, attr)
  local is_secret = attr.secret or attr.referenceable
  return function(value, out, raw)
    local plain = (is_secret and raw) or format(value)
    if attr.secret and not raw and out.seal then
      plain, raw = "{sealed:" .. out.seal(plain) .. "}", true
    end
    if type(plain) == "string" then
      json.put(out, json.quote(raw and plain or expand.escape(plain)))
    else
      json.put(out, json.scalar(plain))
    end
  end
end

local function put_plain(out, value)
  if type(value) == "string" then
    json.put(out, json.quote(value))
  else
    json.put(out, json.scalar(value ~= math.huge and value))
  end
end

local function put_table(out, map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys)
  for i, key in ipairs(keys) do
    json.put(out, (i == 1 and "{" or ",") .. json.quote(key) .. ":")
    put_plain(out, map[key])
  end
  json.put(out, "}")
end

--- What people see instead of a secret.
local HIDDEN = '"(secret)"'

--- Writes what people are shown: how it was written, where that is elsewhere. Returns true when that is all.
local function put_shown(out, attr, raw)
  if not attr.secret and not (attr.referenceable and (raw or out.hides_references)) then return false end
  json.put(out, raw and not attr.secret and json.quote(raw) or HIDDEN)
  return true
end

local function writer_of(plain, attr)
  return function(value, out, raw)
    if out.is_shown and put_shown(out, attr, raw) then return end
    if plain then value = plain(value) end
    if type(value) == "table" then put_table(out, value) else put_plain(out, value) end
  end
end

local function compile_scalar(attr)
  local make = attr.one_of and attr.type == "string" and scalars.enum or scalars[attr.type]
  if not make then error(("unknown type %s"):format(tostring(attr.type)), 0) end
  local scalar, extra = make(attr), rules.extra(attr)
  if extra and attr.secret then extra = without_value(extra) end
  local expected, parse = attr.expects or scalar.expected, scalar.parse
  local words, validate = compile_words(attr), attr.custom_validator
  local is_reference = attr.secret or attr.referenceable
  local function read(where, index)
    local text, raw
    if is_reference then
      text, raw = read_reference(where, index, expected)
    else
      text = where:text(index, expected)
    end
    if text == nil then return nil end
    if attr.type == "pem" then return read_pem(where, index, text, raw, attr) end
    if words and words[text] then return text end
    local value, problem, rule = parse(text, where)
    if value == nil then
      local got = attr.secret and "another" or reader.quote(text)
      if attr.err then
        problem = attr.secret and attr.err or ("%s, got %s"):format(attr.err, got)
      elseif attr.secret then
        problem = nil
      end
      return where:break_rule(rule or "type", index, "%s", problem or ("expected %s, got %s"):format(expected, got))
    end
    if extra then value = ask(where, index, extra, value) end
    if validate and value ~= nil then value = ask(where, index, validate, value, "custom_validator") end
    return value, raw
  end
  local function format(value)
    if words and words[value] then return value end
    return scalar.format(value)
  end
  return { read = read, encode = encoder_of(format, attr), write = writer_of(scalar.plain, attr), expected = expected,
    parse = parse }
end

--- Reads a default as the conf file would say it.
local function default_of(compiled, attr)
  local default = attr.default
  if default == nil then return nil end
  if compiled.from_default then return compiled.from_default(default) end
  if type(default) == "string" and not (attr.words and compile_words(attr)[default]) then
    local value = compiled.parse(default, { dir = "/" })
    if value == nil then error(("bad default %q"):format(default), 0) end
    return value
  end
  return default
end

--- Compiles a definition; see the head of this file. Raises when the definition itself is wrong.
function M.compile(attr)
  if attr.compiled then return attr.compiled end
  local make = READERS[attr.type]
  local compiled = make and make(attr, M.compile) or not make and compile_scalar(attr)
  compiled.attr = attr
  if attr.holder then attr.holder.compiled = compiled end
  compiled.default = default_of(compiled, attr)
  return compiled
end

--- Returns how a secret or referenceable field of a record was written, when that is not its value.
function M.raw_of(record, field)
  local raw = rawget(record, record_type.RAW)
  return raw and raw[field]
end

--- Reads a whole document as a value of `compiled`.
-- @param doc of model/document.lua
-- @param env function(name) -> string or nil
-- @return the value or nil, and a list of problems (empty when all is well)
function M.read(compiled, doc, env, dir)
  local where = reader.new(env)
  where:open(doc, dir or "/")
  local value = compiled.read(where, 0)
  if #where.problems > 0 then return nil, where.problems end
  return value, where.problems
end

--- Returns the canonical JSON text of `value`: fields in byte order, no spaces, defaults left out.
-- @param seal function(text) -> text, or nil: what becomes of secrets that are not references
function M.encode(compiled, value, seal)
  local out = json.writer()
  out.seal = seal
  compiled.encode(value, out)
  return table.concat(out)
end

--- As M.encode, with secrets as what they are: for text that is read at once and goes nowhere.
function M.encode_plain(compiled, value)
  local out = json.writer()
  out.is_plain = true
  compiled.encode(value, out)
  return table.concat(out)
end

--- Returns a value as complete JSON text, for those who use it: see `write` above.
function M.write(compiled, value)
  local out = json.writer()
  compiled.write(value, out)
  return table.concat(out)
end

--- The same for people: without secrets, and with references as they are written.
-- @param raw how the value itself was written, or nil (M.raw_of)
-- @param hides_references true: nobody knows any more what was referred to
function M.show(compiled, value, raw, hides_references)
  local out = json.writer()
  out.is_shown, out.hides_references = true, hides_references
  compiled.write(value, out, raw)
  return table.concat(out)
end

for _, name in ipairs { "string", "integer", "number", "boolean", "duration", "size", "address", "network", "path",
  "foreign", "pem", "list", "map", "record", "shape", "variant", "unavailable",
  "opaque", "tree" } do
  M[name] = function(attr)
    attr = attr or {}
    attr.type = name
    return attr
  end
end

return M
