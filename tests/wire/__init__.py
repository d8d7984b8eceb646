"""Between two machines."""
