local traces = require "support.traces"

describe("traces", function()
  it("pass what compiles", function()
    local sum = 0
    traces.assert_compiles(function() sum = sum + #tostring(sum) end)
  end)

  it("tell of what does not", function()
    local made, complaints = traces.watch(function() return function() end end)
    assert.is_truthy(table.concat(complaints, ";"):find("NYI: bytecode FNEW", 1, true))
    assert.is_number(made)
    assert.has_error(function() traces.assert_compiles(function() return function() end end) end)
  end)

  it("tell of stitched traces", function()
    local _, complaints = traces.watch(function() return (string.gsub("abc", "b", "c")) end)
    assert.is_truthy(table.concat(complaints, ";"):find("stitch", 1, true), table.concat(complaints, ";"))
  end)

  it("let errors through", function()
    assert.has_error(function() traces.watch(function() error("on purpose", 0) end) end, "on purpose")
  end)
end)
