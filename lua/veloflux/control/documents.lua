--- The configuration as one document: out, in, and judged.
-- A document is what a conf file may include: lists of entities by kind, as YAML or JSON.
local compiler = require "veloflux.compiler"
local conf = require "veloflux.conf"
local entities = require "veloflux.control.entities"
local explain = require "veloflux.explain"
local grammar = require "veloflux.conf.grammar"
local json = require "veloflux.pdk.json"
local memory = require "veloflux.control.memory"
local model = require "veloflux.model"
local offload = require "veloflux.control.offload"
local outcome = require "veloflux.control.outcome"
local queue = require "veloflux.control.queue"
local reader = require "veloflux.model.reader"
local slices = require "veloflux.slices"
local secrets = require "veloflux.model.secrets"
local view = require "veloflux.model.view"
local worlds = require "veloflux.control.world"

local M = {}

local MUCH_BYTES = 1024 * 1024 -- of a document, which make ten times as many of the collector's

local NAME = "document"

-- Out -----------------------------------------------------------------------------------------------

local function texts_of(world, kind, is_masked)
  local texts = {}
  for i, found in ipairs(worlds.list(world, kind)) do
    slices.pause()
    texts[i] = entities.encode(kind, found.value, world.seal)
    if is_masked then texts[i] = texts[i]:gsub("{sealed:%x+}", view.MASK) end
  end
  return texts
end

--- Returns all entities, those of the file too, as a document. Secrets stand there by reference or sealed for this
-- installation.
-- @param format "json" or "yaml"
-- @param is_masked true: sealed secrets are masked, so that the document says nothing of them
-- @return text, or nil before anything is published
function M.export(format, is_masked)
  local world = queue.world()
  if not world then return nil end
  local parts = {}
  for _, kind in ipairs(model.kinds_of(world.tools.plugins)) do
    local texts = texts_of(world, kind, is_masked)
    if format ~= "yaml" then
      parts[#parts + 1] = ('"%s":[%s]'):format(kind, table.concat(texts, ",\n"))
    elseif #texts > 0 then
      parts[#parts + 1] = ("%s:\n  - %s\n"):format(kind, table.concat(texts, "\n  - "))
    end
  end
  if format == "yaml" then return #parts > 0 and table.concat(parts) or "{}\n" end
  return "{" .. table.concat(parts, ",\n") .. "}\n"
end

-- In ------------------------------------------------------------------------------------------------

local function refusal(problems)
  local errors = {}
  for i, problem in ipairs(problems) do
    errors[i] = { pointer = conf.pointer(problem), detail = problem.message, line = problem.line, file = problem.file,
      rule = problem.rule }
  end
  return { ok = false, code = "invalid", message = conf.format(problems[1]), errors = errors }
end

--- Reads a document. Returns lists of records by kind, or nil and an outcome.
local function read(text, tools)
  local doc, problem = offload.parse(text, NAME)
  if not doc then return nil, refusal { problem } end
  local where = reader.new(tools.env or os.getenv)
  where.plugins, where.unseal = tools.plugins, tools.unseal
  where:open(doc, tools.dir)
  local included = grammar.of(tools.plugins).included
  if where:is_null(0) then -- nobody means by nothing that all entities go
    local message = "the document is empty: {} is one without entities"
    return nil, refusal { { file = NAME, line = 1, path = "", message = message } }
  end
  local root = included.read(where, 0)
  if #where.problems > 0 then return nil, refusal(where.problems) end
  local lists = {}
  for _, kind in ipairs(model.kinds_of(tools.plugins)) do lists[kind] = root[kind] end
  return lists
end

local function note_duplicates(lists)
  for kind, list in pairs(lists) do
    local seen = {}
    for i, record in ipairs(list) do
      slices.pause()
      local key = model.key(kind, record)
      if seen[key] then
        return refusal { { file = NAME, line = record._line, path = ("%s[%d].name"):format(kind, i - 1),
          message = ("the name %s is already taken, on line %d"):format(key, seen[key]) } }
      end
      seen[key] = record._line
    end
  end
end

--- Leaves what the file has to the file. Returns the edits that are left, and what was skipped because it differs.
local function without_owned(edits, base)
  local left, skipped = {}, {}
  for _, edit in ipairs(edits) do
    slices.pause()
    local mine = base.file[edit.kind][edit.key]
    local known = entities.get(base.set, edit.kind, edit.key)
    local before = mine or known and known.record -- what cannot be read any more is replaced
    local is_same = before and entities.encode(edit.kind, before) == entities.encode(edit.kind, edit.entity.record)
    if not mine and not is_same then
      left[#left + 1] = edit
    elseif mine and not is_same then
      skipped[#skipped + 1] = { kind = edit.kind, key = edit.key, source = ("%s:%d"):format(mine._file, mine._line) }
    end
  end
  return left, skipped
end

--- Deletes what the document does not name.
local function delete_others(edits, wanted, base)
  for _, kind in ipairs(model.kinds_of(base.tools.plugins)) do
    for _, entity in ipairs(entities.sorted(base.set, kind)) do
      slices.pause()
      if not (wanted[kind] and wanted[kind][entity.key]) then
        edits[#edits + 1] = { kind = kind, key = entity.key, before = entity.json }
      end
    end
  end
end

--- Puts stored secrets where a document has their mask.
-- @return another record; or nil and a problem: there is nothing to put there
local function unmasked(kind, record, base)
  local compiled = entities.type_of(kind, base.tools.plugins)
  local key = model.key(kind, record)
  local known = base.file[kind][key] or (entities.get(base.set, kind, key) or {}).record
  local value = view.unmask(view.open(compiled, record), known and view.open(compiled, known))
  local place = secrets.masked_in(kind, value, base.tools.plugins, view.MASK)
  if place then
    return nil, { file = NAME, line = record._line, path = ("%s.%s"):format(kind, record.name or key),
      message = ("%s is masked, and there is no stored value to keep"):format(place) }
  end
  local own, found = entities.read(kind, key, json.encode(value), base.tools, true)
  return own, found[1]
end

--- The same for all that have one.
-- @return lists, or nil and problems
local function without_masks(lists, base)
  local result, problems = {}, {}
  for _, kind in ipairs(model.kinds_of(base.tools.plugins)) do
    result[kind] = {}
    for i, record in ipairs(lists[kind]) do
      slices.pause()
      local own, problem = record, nil
      if entities.encode(kind, record):find('"' .. view.MASK .. '"', 1, true) then
        own, problem = unmasked(kind, record, base)
      end
      result[kind][i], problems[#problems + 1] = own or record, problem
    end
  end
  if #problems > 0 then return nil, problems end
  return result
end

local function edits_of(read_lists, mode, base)
  local lists, masked = without_masks(read_lists, base)
  if not lists then return nil, refusal(masked) end
  local all, problems = worlds.adoption(lists, base)
  if #problems > 0 then return nil, outcome.refusal(problems, {}, "invalid") end
  local wanted, keys = {}, {}
  for _, edit in ipairs(all) do
    wanted[edit.kind] = wanted[edit.kind] or {}
    wanted[edit.kind][edit.key] = true
  end
  local edits, skipped = without_owned(all, base)
  if mode == "replace" then delete_others(edits, wanted, base) end
  for i, edit in ipairs(edits) do keys[i] = { kind = edit.kind, key = edit.key } end
  return { set = entities.with(base.set, edits), edits = edits, keys = keys, extra = { skipped = skipped } }
end

--- Takes a document as one transaction. It may yield.
-- @param text string, or {data, len} (spool.lua)
-- @param mode "merge": its entities are created or replaced; "replace": all others of the store go
-- @param context, callback as for transactions.apply; the outcome has `skipped`: what the conf file has otherwise,
-- {{kind, key, source = FILE:LINE}}
function M.import(text, mode, context, callback)
  local world = queue.world()
  if not world then
    return callback { ok = false, code = "unavailable", message = "nothing is published yet", errors = {} }
  end
  local answer = callback
  if (type(text) == "table" and text.len or #text) > MUCH_BYTES then
    local has_grown = memory.large()
    function answer(result)
      has_grown()
      callback(result)
    end
  end
  local lists, problem = read(text, world.tools)
  problem = problem or note_duplicates(lists)
  if problem then return answer(problem) end
  local own = { source = "import" }
  for name, value in pairs(context) do
    if name ~= "source" then own[name] = value end
  end
  queue.transform(function(base) return edits_of(lists, mode, base) end, own, answer)
end

--- Judges a whole conf file, node settings and all, as `veloflux check` does.
-- @param source its text, or that of model/document.lua
-- @return {ok = true, warnings} or an outcome with errors = {{pointer, detail, line}}
function M.validate(source)
  local world = queue.world()
  local is_text = type(source) == "string"
  local result, problems = conf.load { source = { text = is_text and source or nil,
    document = not is_text and source or nil, name = NAME, dir = world and world.draft.dir or "/" } }
  if not result then return refusal(problems) end
  if world then -- its keys are the node's: nothing is read, made or run because a document says so
    result.node.data_dir, result.node.master_key = world.draft.node.data_dir, world.draft.node.master_key
  end
  local compiled, problem = compiler.compile(result, {})
  if not compiled then return refusal { problem } end
  local _, findings = explain.warnings(result, compiled)
  compiler.give_back(compiled)
  return { ok = true, warnings = findings, findings = findings }
end

return M
