from .async_classifier import AsyncClassifier as AsyncClassifier
from .batching import MAX_SEGMENTS as MAX_SEGMENTS
from .batching import BatchedModel as BatchedModel
from .batching import SegmentScorer as SegmentScorer
from .batching import prepare_inputs as prepare_inputs
from .classifier import Classifier as Classifier
from .jobs import ClassifyJob as ClassifyJob
from .jobs import create_classify_handler as create_classify_handler
