--- Lists of the admin API: ?FIELD=VALUE filters, ?sort=FIELD,-FIELD, ?limit with ?cursor or ?page.
-- A cursor is the place of the last item in the order, so what is added or removed meanwhile neither repeats nor
-- hides others.
local encoding = require "veloflux.pdk.encoding"
local json = require "veloflux.pdk.json"
local problem = require "veloflux.admin.problem"
local slices = require "veloflux.slices"

local M = {}

M.MAX_LIMIT = 500   -- items of a page
M.MAX_ITEMS = 10000 -- of a list that is asked for whole

--- Says whether a text is UTF-8, as everything is that the API takes.
function M.is_text(value) return json.encode(value) ~= nil end

--- Reads a query: a map from name to the list of its values; or nil and a problem.
function M.parse(text)
  local params, names = {}, {}
  for pair in (text or ""):gmatch "[^&]+" do
    local raw_name, raw_value = pair:match "^([^=]*)=?(.*)$"
    local name, value = encoding.url_decode(raw_name, true), encoding.url_decode(raw_value, true)
    if not name or not value then
      return nil, problem.new("invalid", "The query is not well-formed: a % without two hexadecimal digits.")
    end
    if not M.is_text(name) or not M.is_text(value) then
      return nil, problem.new("invalid", "The query is not well-formed: it has to be UTF-8.")
    end
    if not params[name] then
      params[name] = {}
      names[#names + 1] = name
    end
    table.insert(params[name], value)
  end
  return params, names
end

--- Refuses parameters that an endpoint does not know.
-- @param known set of names
-- @return nil, or a problem
function M.unknown(names, known)
  local errors = {}
  for _, name in ipairs(names) do
    if not known[name] then
      errors[#errors + 1] = { parameter = name, pointer = "", detail = "unknown query parameter " .. name }
    end
  end
  if #errors > 0 then return problem.new("invalid", errors[1].detail, { errors = errors }) end
end

local function wrong(name, detail)
  return problem.new("invalid", ("%s: %s"):format(name, detail),
    { errors = { { parameter = name, pointer = "", detail = detail } } })
end
M.wrong = wrong

--- Reads a boolean parameter. Returns it, or nil and a problem.
function M.flag(params, name)
  local values = params[name]
  if not values then return false end
  if #values > 1 then return nil, wrong(name, "given twice") end
  local text = values[1]
  if text == "true" or text == "1" or text == "" then return true end
  if text == "false" or text == "0" then return false end
  return nil, wrong(name, "expected true or false")
end

local function integer(params, name, low, high)
  local values = params[name]
  if not values then return nil end
  if #values > 1 then return nil, wrong(name, "given twice") end
  local text = values[1]
  local value = text:match "^%d+$" and tonumber(text)
  if not value or value < low or value > high then
    return nil, wrong(name, ("expected an integer between %d and %d"):format(low, high))
  end
  return value
end
M.integer = integer

--- Returns the value at a path such as "hash_on.type".
local function value_at(item, path)
  if not path:find(".", 1, true) then return item[path] end
  for step in path:gmatch "[^.]+" do
    if type(item) ~= "table" then return nil end
    item = item[step]
  end
  return item
end

local function is_like(value, texts)
  if json.is_array(value) then
    for _, element in ipairs(value) do
      if is_like(element, texts) then return true end
    end
    return false
  end
  if type(value) == "table" or value == nil or value == json.null then return false end
  local text = type(value) == "number" and ("%.14g"):format(value) or tostring(value)
  for _, wanted in ipairs(texts) do
    if text == wanted then return true end
  end
  return false
end

local function filter(items, params, fields)
  local wanted = {}
  for name, values in pairs(params) do
    if fields[name] then wanted[#wanted + 1] = { name, values } end
  end
  if #wanted == 0 then return items end
  local kept = {}
  for _, item in ipairs(items) do
    slices.pause()
    local fits = true
    for _, pair in ipairs(wanted) do fits = fits and is_like(value_at(item, pair[1]), pair[2]) end
    if fits then kept[#kept + 1] = item end
  end
  return kept
end

--- Reads ?sort. Returns a list of {path, is_descending}, or nil and a problem.
local function read_sort(params, fields, default)
  local order = {}
  for _, text in ipairs(params.sort or { default }) do
    for word in text:gmatch "[^,]+" do
      local sign, path = word:match "^([-+]?)(.-)$"
      if not fields[path] then return nil, wrong("sort", "cannot sort by " .. path) end
      order[#order + 1] = { path, sign == "-" }
    end
  end
  return order
end

-- Values of different types have an order, too: nothing, booleans, numbers, texts.
local RANK = { ["nil"] = 0, userdata = 0, boolean = 1, number = 2, string = 3, table = 4 }

local function compare(a, b)
  local rank_a, rank_b = RANK[type(a)], RANK[type(b)]
  if rank_a ~= rank_b then return rank_a < rank_b and -1 or 1 end
  if rank_a == 1 then a, b = a and 1 or 0, b and 1 or 0 end
  if rank_a == 0 or rank_a == 4 or a == b then return 0 end
  return a < b and -1 or 1
end

local function place_of(item, order)
  local place = {}
  for i, by in ipairs(order) do
    local value = value_at(item, by[1])
    if value == nil or type(value) == "table" then value = json.null end
    place[i] = value
  end
  return json.array(place)
end

local function is_before(a, b, order)
  for i, by in ipairs(order) do
    local result = compare(a[i], b[i])
    if result ~= 0 then return (result < 0) ~= by[2] end
  end
  return false
end

--- Merges the runs from `first` and from `middle` on, up to `last`.
local function merge(from, to, first, middle, last, is_less)
  local left, right = first, middle
  for at = first, last do
    if left < middle and (right > last or not is_less(from[right], from[left])) then
      to[at], left = from[left], left + 1
    else
      to[at], right = from[right], right + 1
    end
    slices.pause()
  end
end

--- Sorts by merging, which may pause; what is in order already costs one comparison each.
local function sort(list, is_less)
  local is_ordered, count = true, #list
  for i = 2, count do
    slices.pause()
    is_ordered = is_ordered and not is_less(list[i], list[i - 1])
  end
  local from, to, width = list, {}, 1
  while not is_ordered and width < count do
    for first = 1, count, 2 * width do
      merge(from, to, first, math.min(first + width, count + 1), math.min(first + 2 * width - 1, count), is_less)
    end
    from, to, width = to, from, 2 * width
  end
  return from
end

local function sorted(items, order)
  local places, list = {}, {}
  for i, item in ipairs(items) do
    slices.pause()
    places[item], list[i] = place_of(item, order), item
  end
  return sort(list, function(a, b) return is_before(places[a], places[b], order) end), places
end

local function read_cursor(params, order)
  local text = params.cursor and encoding.base64url_decode(params.cursor[#params.cursor])
  local place = text and json.decode(text, { max_depth = 4 })
  if not json.is_array(place) or #place ~= #order then return nil end
  return place
end

local function link(request, limit, cursor)
  local parts = {}
  for pair in (request.query or ""):gmatch "[^&]+" do
    local name = pair:match "^[^=]*"
    if name ~= "cursor" and name ~= "limit" and name ~= "page" then parts[#parts + 1] = pair end
  end
  parts[#parts + 1] = "limit=" .. limit
  parts[#parts + 1] = "cursor=" .. cursor
  return ('<%s?%s>; rel="next"'):format(request.path, table.concat(parts, "&"))
end

--- Returns where a page begins and how long it is, or nil and a problem.
local function page_of(params, list, places, order)
  local limit, bad = integer(params, "limit", 1, M.MAX_LIMIT)
  if bad then return nil, bad end
  local page
  page, bad = integer(params, "page", 1, 1000000000)
  if bad then return nil, bad end
  if not limit and not page and not params.cursor then return 1, #list end
  limit = limit or 100
  if params.cursor and page then return nil, wrong("page", "cannot be given together with cursor") end
  if params.cursor and #params.cursor > 1 then return nil, wrong("cursor", "given twice") end
  if page then return (page - 1) * limit + 1, limit, limit end
  if not params.cursor then return 1, limit, limit end
  local after = read_cursor(params, order)
  if not after then return nil, wrong("cursor", "is none that was given for this order") end
  local low, high = 1, #list + 1
  while low < high do -- the first behind the cursor
    local middle = math.floor((low + high) / 2)
    if is_before(after, places[list[middle]], order) then high = middle else low = middle + 1 end
  end
  return low, limit, limit
end

--- Returns the text of a list in JSON. It may pause between two items.
-- @param first, last of the items that are in it
-- @param finish as for `answer`
function M.encode(list, first, last, finish)
  local pieces = {}
  for i = first, last do
    slices.pause()
    pieces[#pieces + 1] = json.lenient(finish and finish(list[i]) or list[i])
  end
  return "[" .. table.concat(pieces, ",") .. "]"
end

--- Answers a list.
-- @param request of the router
-- @param params of `parse`
-- @param items what there is, as it is shown
-- @param fields set of paths by which lists are filtered and sorted
-- @param default the order without ?sort, such as "tenant_id,name"; it tells any two items apart
-- @param finish function(item) -> what is answered for it, or nil: the item itself
-- @return a result
function M.answer(request, params, items, fields, default, finish)
  local order, bad = read_sort(params, fields, default)
  if not order then return bad end
  if params.sort then
    for name in default:gmatch "[^,-]+" do order[#order + 1] = { name, false } end -- so that no two are equal
  end
  local list, places = sorted(filter(items, params, fields), order)
  local first, count, limit = page_of(params, list, places, order)
  if not first then return count end
  if not limit and #list > M.MAX_ITEMS then
    return wrong("limit", ("needed: there are %d items, more than %d"):format(#list, M.MAX_ITEMS))
  end
  local last = math.min(first + count - 1, #list)
  local headers = { "X-Total-Count", tostring(#list) }
  if limit and first <= last and first + count <= #list then
    headers[3], headers[4] = "Link", link(request, limit, encoding.base64url_encode(json.lenient(places[list[last]])))
  end
  return { json_text = M.encode(list, first, last, finish), headers = headers }
end

--- Returns the parameters of a list for the OpenAPI document: rows of {name, schema, description}.
-- @param fields set of paths by which it is filtered and sorted
function M.parameters(fields)
  local text = { type = "string" }
  local rows, names = { { "limit", { type = "integer", minimum = 1, maximum = M.MAX_LIMIT }, "Items of a page." },
    { "cursor", text, "Where the page begins: from the Link header of the one before." },
    { "page", { type = "integer", minimum = 1 }, "The number of a page, instead of a cursor." },
    { "sort", text, "Fields, separated by commas; a minus before one turns its order." } }, {}
  for name in pairs(fields) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do rows[#rows + 1] = { name, text, ("Only those whose `%s` is this."):format(name) } end
  return rows
end

local PAGING = { limit = true, cursor = true, page = true, sort = true }

--- Answers the list that a request asks for; see `answer`. What its query has besides is refused.
function M.list(request, items, fields, default)
  local params, names = M.parse(request.query)
  if not params then return names end
  local known = {}
  for _, set in ipairs { PAGING, fields } do
    for name in pairs(set) do known[name] = true end
  end
  return M.unknown(names, known) or M.answer(request, params, items, fields, default)
end

return M
