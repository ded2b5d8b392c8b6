"""Texts to vectors. Encoders know no genes."""
