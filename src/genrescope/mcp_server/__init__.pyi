from .roots import Roots as Roots
from .server import McpOptions as McpOptions
from .server import create_server as create_server
from .server import run_server as run_server
