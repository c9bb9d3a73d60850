"""Helpers of several tests: synthesized audio, tagged files, reference values."""
