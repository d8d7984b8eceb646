"""The operations. Each is lock → observe both sides → plan → execute → observe what matters again → Outcome."""
