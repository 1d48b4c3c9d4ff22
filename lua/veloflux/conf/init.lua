--- Conf files: from text to a checked model, or to all problems at once.
-- A problem is {file, line, path, message}, and perhaps {rule, plugin, pointer}; `format` writes it as
-- FILE:LINE: path: message.
local document = require "veloflux.model.document"
local reader = require "veloflux.model.reader"
local stored_check = require "veloflux.model.stored_check"
local check = require "veloflux.model.check"
local lint = require "veloflux.model.lint"
local news_of = require "veloflux.model.news"
local model = require "veloflux.model"
local grammar = require "veloflux.conf.grammar"
local environment = require "veloflux.conf.environment"
local node_check = require "veloflux.conf.node_check"
local files = require "veloflux.conf.files"
local places = require "veloflux.conf.places"
local problems_of = require "veloflux.conf.problems"
local slices = require "veloflux.slices"
local sources = require "veloflux.conf.sources"
local plugin_loader = require "veloflux.plugin.loader"
local resolve = require "veloflux.plugin.resolve"

local M = { data_dir = sources.data_dir, pointer = problems_of.pointer, format = problems_of.format }

local Loader = {}
Loader.__index = Loader

function Loader:note(file, line, path, message)
  table.insert(self.problems, { file = file, line = line, path = path, message = message })
end

--- Reads one text; notes what is wrong with it.
-- @param form "file" or "included", see conf/grammar.lua
function Loader:read(form, text, name, dir)
  self.files[#self.files + 1] = name
  local doc, problem = self.parsed, nil
  if doc then self.parsed = nil else doc, problem = self.parse(text, name) end
  if not doc then
    table.insert(self.problems, problem)
    return nil
  end
  self.documents[name] = doc
  if not self.reader.plugins then self:open_plugins(doc, dir) end
  self.reader:open(doc, dir)
  local compiled = grammar.of(self.reader.plugins)[form]
  if self.reader:is_null(0) then return compiled.from_default {} end
  return compiled.read(self.reader, 0)
end

local function append(list, more)
  for i = 1, #more do list[#list + 1] = more[i] end
end

function Loader:include_file(root, name)
  local text, problem = files.read(name)
  if not text then return self:note(name, nil, "", problem) end
  local folder = files.folder_of(name)
  local included = self:read("included", text, name, files.real_path(folder) or folder)
  local kinds = included and model.kinds_of(self.reader.plugins) or {}
  for _, kind in ipairs(kinds) do append(root[kind], included[kind]) end
end

--- Appends the entities of the files that `include` names.
function Loader:include(root, name)
  local folder = files.folder_of(name)
  for i, pattern in ipairs(root.include) do
    if pattern:sub(1, 1) ~= "/" and folder ~= "." then pattern = folder .. "/" .. pattern end
    local paths = files.glob(pattern)
    if not paths then
      self:note_at({ "include", i }, "a folder of this pattern cannot be read")
    elseif #paths == 0 and not pattern:find "[*?%[]" then
      self:note_at({ "include", i }, "no such file")
    end
    for _, path in ipairs(paths or {}) do self:include_file(root, path) end
  end
end

--- What has to be known of a file when the rest of it is forgotten: where the keys of its root stand.
local function outline(doc)
  local lines, at = {}, doc.nodes[0].kind == document.MAP and doc.nodes[0].first or 0
  while at ~= 0 do
    local key = document.text(doc, at)
    lines[key] = lines[key] or doc.nodes[doc.nodes[at].next].line
    at = doc.nodes[doc.nodes[at].next].next
  end
  return { name = doc.name, line = doc.nodes[0].line, lines = lines }
end

--- Forgets the documents, which are large: what stands in them is read, and nobody asks any more where.
function Loader:forget_documents()
  self.documents = {}
  self.reader:close()
  if self.main and self.main.nodes then self.main = outline(self.main) end
end

--- Returns the line of a key of the main file's root.
function Loader:line_of(key)
  local main = self.main.nodes and outline(self.main) or self.main
  return main.lines[key] or main.line
end

--- Notes a problem of the main file at a list of keys and positions (from 1).
function Loader:note_at(path, message)
  local doc = self.main
  self:note(doc.name, doc.nodes[places.locate(doc, path)].line, places.text(path), message)
end

--- Says where a field of an entity stands: file, line and path, for model/check.lua. What came through
-- the API has no line.
function Loader:place(root, kind, position, field)
  local entity = root[kind][position]
  local doc = self.documents[entity._file]
  if entity._file:find "^api:" then return entity._file, nil, field end
  if not doc then return entity._file, entity._line, kind end
  local value = document.find(doc, entity._node, field)
  local line = doc.nodes[value or entity._node].line
  return doc.name, line, ("%s[%d].%s"):format(kind, places.position(doc, kind, entity._node), field)
end

--- The default tenant is always there, and first.
-- @param before a model, or nil: whose own default tenant is taken where the conf has none
local function with_default_tenant(root, compiled, before)
  local tenants = {}
  for _, tenant in ipairs(root.tenants) do
    table.insert(tenants, tenant.name == "default" and #tenants == 0 and 1 or #tenants + 1, tenant)
  end
  for i, tenant in ipairs(tenants) do
    if tenant.name == "default" then
      table.insert(tenants, 1, table.remove(tenants, i))
      return tenants
    end
  end
  local default = before and before.tenants[1]
  if not default or default._file ~= "" then
    default = setmetatable({ name = "default", _line = 0, _file = "" }, getmetatable(compiled.from_default {}))
  end
  table.insert(tenants, 1, default)
  return tenants
end

--- Plugins are needed while entities are read, so where they are is read before the rest; whatever is
-- wrong with that is said when its turn comes.
function Loader:open_plugins(doc, dir)
  local paths
  local at = doc and document.find(doc, 0, "plugin_path")
  if at then
    local where = reader.new(self.env)
    where:open(doc, dir)
    paths = grammar.file.by_name.plugin_path.read(where, at)
  end
  self.reader.plugins = plugin_loader.new(paths or {}, self.is_forgiving)
  self.reader.plugins:load_control(grammar.owner)
end

--- Makes lists that may be appended to: defaults are shared.
local function own_lists(root, plugins)
  for _, kind in ipairs(model.kinds_of(plugins)) do
    if rawget(root, kind) == nil then root[kind] = {} end
  end
end

--- Checks the node settings and the entities, those of `more` too; see M.complete.
function Loader:check(root, more)
  node_check.run(root, function(path, message) self:note_at(path, message) end)
  append(self.problems, self.reader.plugins.problems)
  append(self.reader.warnings, self.reader.plugins.warnings)
  append(self.files, self.reader.plugins.read)
  return self:assemble(root, more, self.problems)
end

--- Returns a list with the elements of both; it may be one of them, which is not to be changed.
local function joined(list, more)
  if #list == 0 and more then return more end
  local all = {}
  append(all, list)
  append(all, more or {})
  return all
end

--- Takes the records of the file and of the store for a model.
-- @return what is new of them (model/news.lua)
function Loader:take(result, root, more, before)
  local node, news = result.node, news_of.new(before)
  for _, kind in ipairs(model.kinds_of(self.reader.plugins)) do
    local list = joined(root.entities == "owned" and root[kind] or {}, more and more[kind])
    if kind == "tenants" then
      node.tenants = list
      list = with_default_tenant(node, grammar.file.by_name.tenants.element, before)
    end
    slices.look()
    node[kind] = news:take(kind, list)
    result[kind] = node[kind]
    if news_of.ANNOTATED[kind] then result.inputs[kind] = list end
  end
  return news
end

--- Makes a model of the node settings, the entities of the file and those of the store. The records are
-- those given; what checks add to one that an earlier model has is added to a copy.
-- @param more lists of records by kind, or nil
-- @param before a good model of the same root, or nil: what both have in common is not judged again
function Loader:assemble(root, more, problems, before)
  local node = setmetatable({}, getmetatable(root))
  for key, value in pairs(root) do node[key] = value end
  local plugins = self.reader.plugins
  local result = { node = node, source = self.main.name, files = self.files, warnings = joined(self.reader.warnings),
    control = plugins.control, stored_kinds = plugins.kind_names, origin = root, inputs = {} }
  local news = self:take(result, root, more, before)
  local function place(...) return self:place(node, ...) end
  slices.look()
  check.run(result, place, problems, plugins, news)
  slices.look()
  stored_check.run(result, plugins.kinds, place, problems)
  if #problems == 0 then resolve.run(result, place, problems, news) end
  slices.look()
  if #problems == 0 then
    lint.run(result, root, grammar.file, place, function(path)
      local head = path:match "^[^.%[]+"
      return self.main.name, self:line_of(head)
    end)
    slices.look()
    model.share(result, news)
  end
  return result
end

--- Nodes that share a store share its entities, unless they say otherwise.
local function place_entities(root)
  if rawget(root, "entities") == nil and root.store.driver == "redis" then root.entities = "seed" end
end

function Loader:load_root(text, name, dir)
  local root = self:read("file", text, name, dir)
  if not root then return nil end
  if root == grammar.of(self.reader.plugins).file.default or next(root) == nil then
    root = setmetatable({}, getmetatable(root))
  end
  self.main = self.documents[name]
  sources.place_data_dir(root, dir)
  if not self.is_canonical then place_entities(root) end
  own_lists(root, self.reader.plugins)
  self:include(root, name)
  root.include = nil -- what it named is here now
  environment.apply(root, grammar.file, self.env, function(variable, message)
    self:note("environment", nil, variable, message)
  end)
  return root
end

local function new_loader(options)
  local env = options.env or os.getenv
  local lookup = type(env) == "table" and function(name) return env[name] end or env
  local self = setmetatable({ env = lookup, reader = reader.new(lookup), documents = {}, files = {} }, Loader)
  self.problems, self.reader.unseal, self.is_canonical = self.reader.problems, options.unseal, options.is_canonical
  self.parse = options.parse or document.parse
  self.parsed, self.is_forgiving = options.source.document, options.is_forgiving
  return self
end

--- Reads a conf file and all that it includes, without what can only be judged with the entities of the
-- store: `complete` does the rest.
-- @param options as for load, without `lenient`; is_canonical: the text was written by model/schema.lua, so what is not
-- there is the schema's default whatever else is set; is_forgiving: see plugin/loader.lua; parse: function(text, name)
-- in the place of document.parse, which may yield
-- @return a draft: {node, plugins, ...}: the node settings with the file's own entities as far as known, and the loader
function M.read(options)
  local self = new_loader(options)
  local text, name, dir, problem = sources.open(options.source)
  if not text then
    self:note(name, nil, "", problem)
  else
    self.root = self:load_root(text, name, dir)
  end
  self.dir = dir
  self.plugins = self.reader.plugins
  self.node = self.root
  if not self.node then
    self.node = sources.guess(text, dir)
    sources.place_data_dir(self.node, dir)
  end
  return self
end

--- Makes a model of a draft, with the entities of the store.
-- @param draft of read
-- @param more lists of records by kind, or nil
-- @return the model, or nil; and the list of problems, empty when all is well
function M.complete(draft, more)
  local result = draft.root and draft:check(draft.root, more)
  draft:forget_documents()
  if #draft.problems == 0 then return result, draft.problems end
  problems_of.sort(draft.problems, draft.files)
  return nil, draft.problems
end

--- The same again with other entities, after `complete` was content.
-- @param before what either of both made last of this draft and is in force, or nil: of what it has, too, nothing is
-- judged again. Records are compared by reference
-- @return the model, or nil; and a list of problems
function M.recombine(draft, more, before)
  local problems = {}
  before = before and before.origin == draft.root and before or nil
  local result = draft:assemble(draft.root, more, problems, before)
  if #problems == 0 then return result, problems end
  if before then return M.recombine(draft, more) end -- the same problems, and all others
  return nil, problems
end

--- Forgets the entities of a file that have filled a store: they are the store's now. Others are kept.
function M.forget_seed(draft)
  if not draft.root or draft.root.entities ~= "seed" then return end
  for _, kind in ipairs(model.kinds_of(draft.plugins)) do draft.root[kind] = {} end
end

--- The entities of a file that are there to fill an empty store.
function M.seed_of(draft)
  local lists = {}
  for _, kind in ipairs(model.kinds_of(draft.plugins)) do lists[kind] = draft.root[kind] end
  return lists
end

--- Loads a conf file and all that it includes.
-- @param options table:
--   source   {path} of a file, or {text, name, dir}: a text, what messages call it and the folder that
--            relative paths start from; or the same with `document`, the text as model/document.lua has it
--   env      table or function(name) -> string or nil: the environment (default: the process's own)
--   unseal   function(text) -> text: opens secrets that model/schema.lua sealed
--   lenient  return the node settings, as far as they are known, of a file with errors too
-- @return the model (model/init.lua; with lenient perhaps only its `node`), or nil; and the list of
-- problems, empty when all is well
function M.load(options)
  local draft = M.read(options)
  local result, problems = M.complete(draft, draft.root and draft.node.entities == "seed" and M.seed_of(draft) or nil)
  if not result and options.lenient then result = { node = draft.node } end
  return result, problems
end

return M
