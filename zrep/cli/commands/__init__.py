"""The commands: a file each, by its name, with its signature and help. What a command does is in zrep.ops."""
