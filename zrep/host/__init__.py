"""One machine: its processes, its locks, libzfs_core, and what can be asked of it."""
