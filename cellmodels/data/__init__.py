"""Cells and genes as the models take them."""
