"""The parts of the example `rgc_subtypes.py`: data, comparison, interpretation, figures and report."""
