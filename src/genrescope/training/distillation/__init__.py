"""Distillation of a large pre-trained network into a small one."""
