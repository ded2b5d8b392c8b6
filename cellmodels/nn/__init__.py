"""Layers and products shared by the networks."""
