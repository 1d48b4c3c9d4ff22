local http = require "veloflux.cli.http"

describe("an answer", function()
  it("is taken apart, interim ones before it left out", function()
    local answer = http.parse("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: a/b\r\n"
      .. "Content-Length: 2\r\n\r\nhi")
    assert.same({ status = 200, body = "hi", headers = { ["content-type"] = "a/b", ["content-length"] = "2" } },
      answer)
  end)

  it("may come in chunks", function()
    local head = "HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert.equal("hello", http.parse(head .. "3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n").body)
    for _, body in ipairs { "", "3\r\nhe", "3\r\nhel\r\n", "x\r\n" } do
      assert.is_nil(http.parse(head .. body), body)
    end
  end)

  it("is not half of one", function()
    for _, text in ipairs { "", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nA: b\r\n", "HTTP/1.1 100 Continue\r\nA: b\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", "nonsense\r\n\r\n" } do
      assert.is_nil(http.parse(text), text)
    end
  end)

  it("to HEAD has no body", function()
    assert.equal("", http.parse("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "HEAD").body)
  end)
end)
