from .async_classifier import AsyncClassifier as AsyncClassifier
from .classifier import Classifier as Classifier
from .jobs import ClassifyJob as ClassifyJob
from .jobs import create_classify_handler as create_classify_handler
