"""Models of single cells that use gene priors beside expression."""
