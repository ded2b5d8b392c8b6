"""Graphs, clusters, neighbours and principal components of cells."""
