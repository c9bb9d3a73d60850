from .comparison import compare_with_paper as compare_with_paper
from .reproduce import reproduce_paper as reproduce_paper
