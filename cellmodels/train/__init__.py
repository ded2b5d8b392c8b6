"""The training loop, its checkpoints, and hyper-parameters read as text."""
