"""Hub models and local folders as encoders, in torch or OpenVINO."""
