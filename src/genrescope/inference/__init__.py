"""Classification of audio files.

The names are listed, with their types, in ``__init__.pyi``; a module is loaded when one of them is used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
