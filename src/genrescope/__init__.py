"""genrescope: the genres of music, from audio files.

The public names are listed, with their types, in ``__init__.pyi``. Each is loaded when it is first used, so
that ``import genrescope`` loads neither NumPy nor any other large library.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
