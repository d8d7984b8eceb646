"""The real zrep process, against the model's zfs and ssh on PATH."""
