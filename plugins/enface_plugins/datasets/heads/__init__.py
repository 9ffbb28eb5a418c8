"""The parts of the synthetic heads: who a person is, their mesh, their colours, and the rays that show them."""
