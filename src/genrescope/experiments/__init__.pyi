from .comparison import compare_with_paper as compare_with_paper
from .model_comparison import compare_models as compare_models
from .reproduce import reproduce_paper as reproduce_paper
from .tuning import Tuning as Tuning
from .tuning import load_space as load_space
from .tuning import tune_config as tune_config
