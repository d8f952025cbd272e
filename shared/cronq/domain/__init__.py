"""The rules of the domain as pure values: no I/O, no clock, no randomness."""
