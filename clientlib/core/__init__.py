"""The clients' decisions, without I/O, clock or randomness of their own."""
