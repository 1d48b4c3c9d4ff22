require "support.library"
local cluster = require "veloflux.cluster"
local json = require "veloflux.pdk.json"
local runs = require "veloflux.admin.bulk_run"

local function ops_of(count)
  local ops = {}
  for i = 1, count do ops[i] = { action = "add", shown_kind = "pools", shown_id = "p" .. i } end
  return ops
end

--- A store of tables, and transactions that end as `outcome` says.
local function context_with(outcome)
  local context = { kept = {}, records = {}, asked = {} }
  local store = {}
  function store:put(_, key, text, _, callback)
    context.kept[key] = text
    callback()
  end
  function store:get(_, key, callback) callback(nil, context.kept[key]) end
  function store:versions(options, callback)
    local list = {}
    for i = #context.records, 1, -1 do
      local record = context.records[i]
      if not options.before or record.version < options.before then list[#list + 1] = record end
    end
    callback(context.failure, list)
  end
  function context.store() return store end
  local transactions = { together = function(submit) submit() end }
  function transactions.apply(ops, own, callback)
    local refusal = own.check()
    context.asked[#context.asked + 1] = own
    callback(refusal or outcome(ops, #context.asked))
  end
  function context.transactions() return transactions end
  return context
end

local function batch_of(count, is_atomic)
  return runs.new(ops_of(count), { is_atomic = is_atomic, context = { author = "ana" }, base_version = 4 })
end

local function good(_, n) return { ok = true, version = 4 + n, laggards = 0, summary = "done" } end

describe("bulk_run", function()
  it("puts its id into the reason of its versions", function()
    local context, batch = context_with(good), batch_of(2, true)
    runs.run(context, batch)
    assert.equal("completed", batch.document.status)
    assert.equal("bulk " .. batch.id, context.asked[1].reason)
    batch = batch_of(2, false)
    batch.context.reason = "we need it"
    runs.run(context, batch)
    assert.equal(("we need it (bulk %s operation 1)"):format(batch.id), context.asked[3].reason)
  end)

  it("tells progress, and that it ended", function()
    local context, batch, seen = context_with(good), batch_of(1200, false), {}
    runs.run(context, batch, function() seen[#seen + 1] = batch.document.done end)
    assert.same({ 500, 1000 }, seen)
    assert.same({ "completed", 1200, 1200, 0 }, { batch.document.status, batch.document.done,
      batch.document.succeeded, batch.document.failed })
  end)

  it("stops when it is cancelled", function()
    local context, batch = context_with(good), batch_of(1200, false)
    runs.run(context, batch, function() batch.is_cancelled = true end)
    assert.same({ "cancelled", 500, 1200 }, { batch.document.status, batch.document.succeeded,
      #batch.document.results })
    assert.equal("cancelled", batch.document.results[501].status)
    batch = batch_of(2, true)
    batch.is_cancelled = true
    runs.run(context, batch)
    assert.same({ "cancelled", 0 }, { batch.document.status, batch.document.succeeded })
  end)

  describe("of one that was cut off", function()
    local function found(is_atomic, records, done)
      local context, batch = context_with(good), batch_of(3, is_atomic)
      batch.document.status = "running"
      for i = 1, done or 0 do
        batch.document.results[i] = { index = i - 1, action = "add", kind = "pools", id = "p" .. i, status = "error" }
      end
      assert.is_nil(runs.save(context, batch))
      for i, reason in ipairs(records) do
        context.records[i] = { version = 3 + i, reason = reason and reason:gsub("ID", batch.id) or "" }
      end
      local document = runs.find(context, batch.id)
      assert.same(document.status, json.decode(context.kept[batch.id]).document.status)
      return document
    end

    it("says that nothing was applied, or all", function()
      local document = found(true, { "x", "bulk other" })
      assert.same({ "interrupted", 0, "interrupted" }, { document.status, document.succeeded,
        document.results[1].status })
      document = found(true, { "x", "bulk ID" })
      assert.same({ "completed", 3, 5, "ok" }, { document.status, document.succeeded, document.version,
        document.results[3].status })
    end)

    it("says what was applied of what counts each on its own", function()
      local document = found(false, { "x", "other", "why (bulk ID operation 1)" }, 1)
      assert.same({ "interrupted", 1, 1, 6 }, { document.status, document.succeeded, document.failed,
        document.version })
      assert.same({ "error", "ok", "interrupted" }, { document.results[1].status, document.results[2].status,
        document.results[3].status })
    end)

    it("ignores versions from before it", function()
      assert.equal("interrupted", found(true, { "bulk ID", "x" }).status)
    end)
  end)

  it("leaves alone what another node is at", function()
    local node_of = cluster.node_of
    finally(function() cluster.node_of = node_of end)
    local context, batch = context_with(good), batch_of(2, false)
    assert.is_nil(runs.save(context, batch))
    local kept = context.kept[batch.id]
    function cluster.node_of(run) return run == cluster.run() and "a" or nil end
    local document, err, node = runs.find(context, batch.id)
    assert.same({ "running", nil, "a" }, { document.status, err, node })
    assert.equal(kept, context.kept[batch.id])
    function cluster.node_of() return nil end -- it has ended, or began anew
    assert.equal("interrupted", runs.find(context, batch.id).status)
  end)

  it("says that the store is away", function()
    local context = { store = function() return nil end }
    local document, err = runs.find(context, ("0"):rep(32))
    assert.is_nil(document)
    assert.equal("unavailable", err.code)
    context = context_with(good)
    assert.is_nil(runs.find(context, ("0"):rep(32)))
    local batch = batch_of(1, true)
    runs.save(context, batch)
    context.failure = { code = "io" }
    document, err = runs.find(context, batch.id)
    assert.is_nil(document)
    assert.equal("io", err.code)
  end)
end)
