"""The seeds and people that a comparison needs, estimated from the runs at hand."""
