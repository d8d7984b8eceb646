"""One contract, several implementations: what zrep may rely on, told by real OpenZFS and kept by the model."""
