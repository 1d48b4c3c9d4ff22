return { credential = {
  id = "key",
  hashed = true,
  fields = {
    key = { type = "string", required = true, secret = true, len_max = 1024, order = 1,
      description = "What the client sends. Long and random: nothing slows down those who guess." },
    id = { type = "string", len_max = 128, match = "^[%w_.@-]+$", order = 2,
      err = "expected letters, digits and _ . @ -",
      description = "A name for this key, told to the backend; without it the beginning of a hash is." },
  },
} }
