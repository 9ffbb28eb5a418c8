"""Previews of packs, packs at an address, and packs made by several machines."""
