--- The vocabulary of conformance cases (see README.md beside this file for the whole grammar of a case).
local message = require "support.message"

local loop = require "support.loop"
local M = {}

--- Joins lines with CRLF and ends the section with an empty line: a message head exactly as given.
function M.head(...)
  return table.concat({ ... }, "\r\n") .. "\r\n\r\n"
end

--- Iterates over a map in the order of its names, so that cases made from one come in the same order every time.
function M.each(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  local i = 0
  return function()
    i = i + 1
    return names[i], map[names[i]]
  end
end

--- A plain GET with further field lines.
function M.get(...)
  return M.head("GET / HTTP/1.1", "Host: a", ...)
end

--- A plain POST with further field lines.
function M.post(...)
  return M.head("POST / HTTP/1.1", "Host: a", ...)
end

--- A 200 answer with further field lines, body not included.
function M.answer(...)
  return M.head("HTTP/1.1 200 OK", ...)
end

--- The answer of an origin whose case says nothing else.
M.OK = M.answer "Content-Length: 2" .. "ok"

-- Expectations of a field: functions of the list of its values

--- The values, joined as RFC 9110 section 5.3 allows, are this text.
function M.joined(text)
  return function(values) return table.concat(values, ", ") == text end
end

local function has_element(values, element)
  return (", " .. table.concat(values, ", "):lower() .. ","):find(", " .. element .. ",", 1, true) ~= nil
end

--- The list that the values make has this element (given in lower case).
function M.with(element)
  return function(values) return has_element(values, element) end
end

--- The list that the values make does not have this element (given in lower case).
function M.without(element)
  return function(values) return not has_element(values, element) end
end

--- At least one value is there.
function M.present(values) return #values > 0 end

-- What the origin sees

--- No request at all.
M.NOTHING = { requests = 0 }

--- No request, or one whose body never completes: what remains when a body turns out to be malformed on the way.
M.NO_WHOLE = { whole = false }

--- Expectation: refused by the proxy itself, nothing forwarded, connection closed.
-- @param status number, or list of acceptable ones
function M.refused(status)
  return { status = status, problem = true, origin_sees = M.NOTHING, connection = "close" }
end

--- Expectation: refused while the body was on its way.
function M.refused_in_body(status)
  return { status = status, problem = true, origin_sees = M.NO_WHOLE, connection = "close" }
end

--- Expectation: the origin's answer is not passed on; the client gets 502 and may go on.
M.BAD_GATEWAY = { status = 502, problem = true }

--- Expectation: the client can tell that the answer is not complete.
M.TRUNCATED = { client_sees = { truncated = true }, connection = "close" }

-- Steps of an origin's script: function(conn, request)

--- Reads the request's body here; without this step it is read before the first.
function M.read_body(conn, request) message.read_body(conn, request) end

--- Closes the connection.
function M.close(conn) conn:close() end

--- Closes the connection with RST.
function M.reset(conn) conn:reset() end

--- Lets the client see what was sent before the connection ends: a reset that comes along with the last bytes shows as
-- end of file to some event loops.
local gate = loop.condition()
function M.until_seen(conn)
  local is_open = false
  gate.open = function()
    is_open = true
    gate:notify()
  end
  gate:wait("the client to see what " .. conn.name .. " sent", function() return is_open end)
end

--- The client's side of it: waits until it has received `bytes`.
function M.client_sees(bytes)
  return function(run)
    local stream = run.client.stream
    local function has_come() return stream:received():find(bytes, 1, true) end
    stream.changed:wait(("%q on the client"):format(bytes), has_come)
    gate.open()
  end
end

--- Sends FIN and keeps reading.
function M.half_close(conn) conn:shutdown() end

--- Answers nothing and waits until the proxy gives the connection up.
function M.hold(conn)
  conn.changed:wait("the proxy to give up " .. conn.name, function() return conn.ended end)
  conn:close()
end

--- Reads exactly these bytes from the connection (of a tunnel).
function M.origin_reads(bytes)
  return function(conn)
    local got = conn:read_exact(#bytes, "bytes of a tunnel")
    if got ~= bytes then error(("the origin expected %q in the tunnel, got %q"):format(bytes, tostring(got)), 0) end
  end
end

-- Steps of a client's script: function(run), where run is the runner's record of the case

--- Reads one final response now, before anything further is sent.
function M.response(run) run:read_response() end

--- Reads one interim response now and checks its status.
function M.interim(status)
  return function(run)
    local response, fault = run.client:read_head()
    if not response then error("no interim response: " .. fault, 0) end
    if response.status ~= status then error(("expected interim %d, got %d"):format(status, response.status), 0) end
    run.interim[#run.interim + 1] = response
  end
end

--- Waits until the origin has the head of `count` requests in this case.
function M.origin_has(count)
  return function(run) run:wait_origin(count) end
end

--- The client sends FIN and goes on reading.
function M.client_half_close(run)
  run.has_half_closed = true -- the proxy cannot announce a close that it could not foresee
  run.client:shutdown()
end

--- The client goes away.
function M.client_close(run) run.client:close() end

--- Reads exactly these bytes from the connection (of a tunnel).
function M.client_reads(bytes)
  return function(run)
    local got = run.client.stream:read_exact(#bytes, "bytes of a tunnel")
    if got ~= bytes then error(("the client expected %q in the tunnel, got %q"):format(bytes, tostring(got)), 0) end
  end
end

--- Cuts bytes into a list of single bytes, each sent in a write of its own.
function M.byte_by_byte(bytes)
  local list = {}
  for i = 1, #bytes do list[i] = bytes:sub(i, i) end
  return list
end

return M
