"""Between two machines: the helper on the peer, and the connection to it."""
