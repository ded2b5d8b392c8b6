"""Texts through an encoder into the store of vectors; paid ones only where that was confirmed."""
