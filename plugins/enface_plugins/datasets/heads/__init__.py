"""Components of the synthetic heads: identity, mesh, colours, rays and rendering."""
