"""Two (or three) hosts with real OpenZFS on one ordinary machine. See README.md in this folder."""
