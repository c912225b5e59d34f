"""The rules behind findings, by what they look at: one function each, each named by its finding."""
