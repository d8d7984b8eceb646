"""What zrep costs on real OpenZFS: ratios within one run, for reading, never a test that a clock can fail."""
