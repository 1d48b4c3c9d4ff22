local format = require "veloflux.store.redis.format"

describe("what is written in Redis", function()
  it("is read as it was, whatever bytes it has", function()
    local texts = { "", "a", nil, "1:x,", "-,", "\0\255\n", ("x"):rep(100000), n = 7 }
    assert.same(texts, format.unpack(format.pack(7, unpack(texts, 1, 7))))
    assert.same({ n = 0 }, format.unpack "")
  end)

  it("is known when it is damaged", function()
    for _, text in ipairs { "x", "1", "1:", "1:a", "2:a,", "1:a;", "999999999999999999999:a,", "-", "1:a,1", ":a," } do
      assert.is_nil(format.unpack(text), text)
    end
    for _, text in ipairs { "", "1 2 3", "1 2\n{}", "a b c\n{}", "1 2 3 4\n{}" } do
      assert.is_nil(format.read_entity(text), text)
    end
    assert.is_nil(format.read_record(1, format.pack(6, "id", "1", "a", "b", "c", "d")))
    assert.is_nil(format.read_record(1, format.pack(7, "id")))
    assert.is_nil(format.read_changes(format.pack(4, "a\0b", "", "", "")))
    assert.is_nil(format.read_changes(format.pack(5, "ab", "", "", "1 2 3", "{}")))
  end)

  it("has entities, records and changes", function()
    local entity = { json = '{"a":1}\n', version = 3, created_ms = 2 ^ 52, updated_ms = 7 }
    assert.same(entity, format.read_entity(format.write_entity(entity)))
    local change = { time_ms = 5, author = "ana", source = "api", request_id = "" }
    assert.same({ version = 9, time_ms = 5, author = "ana", source = "api", request_id = "" },
      format.read_record(9, format.pack(1, "id") .. format.write_record(change)))
    assert.same({ { kind = "k", key = "a\0b", after = { json = "{}", version = 1, created_ms = 2, updated_ms = 3 } } },
      format.read_changes(format.pack(5, format.field("k", "a\0b"), "", "", "1 2 3", "{}")))
  end)
end)
