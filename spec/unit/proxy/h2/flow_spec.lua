--- The memory of a stream of HTTP/2: what is kept until it becomes frames, what waits for the exchange.
local ffi = require "ffi"
local library = require "support.library"

ffi.cdef [[
struct h2_flow_text { const char *data; size_t len; };
struct h2_flow {
    void *wire, *next, *prev;
    int32_t id;
    struct h2_flow_text slice;
    char *kept;
    size_t kept_begin, kept_end, kept_room;
    void *trailers;
    size_t n_trailers;
    uint64_t sent_bytes;
    bool has_ended, was_full;
    char *input;
    size_t input_len, input_room, unreturned, trailer_bytes;
    bool input_ended;
};
bool vf_h2_flow_keep(struct h2_flow *, uint64_t *buffered, struct h2_flow_text slice);
void vf_h2_flow_shrink(struct h2_flow *);
bool vf_h2_flow_keep_input(struct h2_flow *, uint64_t *buffered, const char *data, size_t len);
struct h2_flow_text vf_h2_flow_take_input(struct h2_flow *, uint64_t *buffered);
void vf_h2_flow_deinit(struct h2_flow *, uint64_t *buffered);
void free(void *);
]]

describe("a flow", function()
  local flow, buffered

  before_each(function()
    flow, buffered = ffi.new "struct h2_flow", ffi.new "uint64_t[1]"
  end)

  after_each(function()
    library.vf_h2_flow_deinit(flow, buffered)
    assert.equal(0, tonumber(buffered[0]))
  end)

  local function keep(text)
    assert.is_true(library.vf_h2_flow_keep(flow, buffered, ffi.new("struct h2_flow_text", text, #text)))
  end

  --- As when `n` bytes became frames.
  local function send(n)
    flow.kept_begin = flow.kept_begin + n
    buffered[0] = buffered[0] - n
  end

  local function kept()
    return ffi.string(flow.kept + flow.kept_begin, flow.kept_end - flow.kept_begin)
  end

  it("keeps content in its order, and counts it", function()
    keep "one "
    keep "two "
    assert.equal("one two ", kept())
    send(4)
    keep "three"
    assert.equal("two three", kept())
    assert.equal(9, tonumber(buffered[0]))
  end)

  it("moves what is left to the front when it grows", function()
    keep(("a"):rep(4096))
    send(4000)
    keep(("b"):rep(5000))
    assert.equal(("a"):rep(96) .. ("b"):rep(5000), kept())
    assert.equal(5096, tonumber(buffered[0]))
  end)

  it("gives the memory back when everything has left, and not before", function()
    keep "content"
    library.vf_h2_flow_shrink(flow)
    assert.equal("content", kept())
    send(7)
    library.vf_h2_flow_shrink(flow)
    assert.is_true(flow.kept == nil)
    assert.equal(0, tonumber(flow.kept_room))
    keep "more"
    assert.equal("more", kept())
  end)

  it("hands over what waits in one piece, and begins anew", function()
    local text = ("x"):rep(3000)
    assert.is_true(library.vf_h2_flow_keep_input(flow, buffered, text, #text))
    assert.is_true(library.vf_h2_flow_keep_input(flow, buffered, text, #text))
    assert.equal(6000, tonumber(buffered[0]))
    local input = library.vf_h2_flow_take_input(flow, buffered)
    assert.equal(text .. text, ffi.string(input.data, input.len))
    ffi.C.free(ffi.cast("void *", input.data))
    assert.equal(0, tonumber(buffered[0]))
    assert.is_true(library.vf_h2_flow_keep_input(flow, buffered, "y", 1))
    assert.equal(1, tonumber(flow.input_len))
  end)
end)
