"""Distillation of a large pre-trained network into a small one (Hinton et al., 2015, arXiv 1503.02531)."""

from importlib.util import find_spec

from genrescope.errors import missing_extra

# All modules of this package need these: one clear error, instead of that of whichever import comes first.
for _name in ("torch", "lightning"):
    if find_spec(_name) is None:
        raise missing_extra("train", _name)
