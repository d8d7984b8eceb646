"""What zfs prints and says."""
