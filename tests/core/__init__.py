"""The pure half, as tables: what goes in, what comes out."""
