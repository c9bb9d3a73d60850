"""Training of the heads of the default model: genres of the taxonomy, and music against other sound.

The student that both heads stand on is made by `genrescope.training.distill`.
"""

from importlib.util import find_spec

from genrescope.errors import missing_extra

# All modules of this package need these: one clear error, instead of that of whichever import comes first.
for _name in ("torch", "lightning"):
    if find_spec(_name) is None:
        raise missing_extra("train", _name)
