"""Texts through an encoder into the store of vectors."""
