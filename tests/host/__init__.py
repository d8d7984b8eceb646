"""One machine: locks, processes, libzfs_core, threads."""
