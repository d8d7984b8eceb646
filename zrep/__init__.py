"""zrep: replicate ZFS filesystems to a second host and move the master role between them."""

__version__ = "3.0.0.dev0"
