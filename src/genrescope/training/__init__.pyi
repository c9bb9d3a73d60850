from .config import Config as Config
from .config import load_config as load_config
from .distillation.pipeline import DistillConfig as DistillConfig
from .distillation.pipeline import distill as distill
from .distillation.pipeline import select_tracks as select_tracks
from .run import load_finished as load_finished
from .run import train as train
from .task import Task as Task
