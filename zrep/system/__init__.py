"""The half with effects: the only place that starts a process, takes a lock or reads a clock."""
