"""The command line: parsing, one run, and results as text."""
