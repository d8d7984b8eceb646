"""The pure half: no I/O, no clock, no randomness. What is needed of those comes in as arguments."""
