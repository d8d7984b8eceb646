"""The effects half: what it reads, starts, locks and says."""
