"""Search for a learning rate and a batch size, on a copy of the network."""
