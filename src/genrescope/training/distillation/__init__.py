"""Distillation of a large pre-trained network into a small one (Hinton et al., 2015, arXiv 1503.02531)."""
