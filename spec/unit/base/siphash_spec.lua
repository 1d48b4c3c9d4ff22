--- SipHash-2-4 against the vectors that its authors published with their reference implementation.
local process = require "support.process"
local loop = require "support.loop"
local tempdir = require "support.tempdir"

-- Key 00 01 .. 0f, texts of 0 to 15 bytes 00 01 ..; the last is the worked example of the paper (appendix A).
local VECTORS = { [0] = "726fdb47dd0e0e31", [1] = "74f839c593dc67fd", [2] = "0d6c8009d9a94f5a",
  [7] = "ab0200f58b01d137", [8] = "93f5f5799a932462", [15] = "a129ca6149be45e5" }

local PROGRAM = [[
#include <stdio.h>
#include "base/siphash.h"
int main(void)
{
    struct vf_siphash_key key = {0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL};
    unsigned char text[16];
    for (int i = 0; i < 16; i++)
        text[i] = (unsigned char)i;
    for (size_t len = 0; len < 16; len++)
        printf("%016llx\n", (unsigned long long)vf_siphash(&key, text, len));
    return 0;
}
]]

describe("the keyed hash", function()
  it("is SipHash-2-4", loop.spec(function()
    local dir = tempdir.new()
    tempdir.write(dir .. "/try.c", PROGRAM)
    local code, _, err = process.run("/usr/bin/cc", { "-I", "src", "-o", dir .. "/try", dir .. "/try.c" })
    assert.equal(0, code, err)
    local _, out = process.run(dir .. "/try", {})
    local found, len = {}, 0
    for line in out:gmatch "%x+" do
      found[len], len = line, len + 1
    end
    assert.equal(16, len)
    for i, expected in pairs(VECTORS) do assert.equal(expected, found[i]) end
  end))
end)
