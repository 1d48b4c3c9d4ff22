return {
  digits = { type = "integer", default = 12, between = { 6, 32 }, description = "Numbers with so many are masked." },
}
