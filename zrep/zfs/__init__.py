"""The only ZFS vocabulary: every command, every parser, every error of zfs."""
