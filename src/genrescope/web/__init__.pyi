from .server import serve as serve
from .settings import Settings as Settings
from .settings import default_workers as default_workers
