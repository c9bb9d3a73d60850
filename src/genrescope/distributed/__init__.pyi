from .actor import ActorOptions as ActorOptions
from .actor import GenreActor as GenreActor
from .dataset import classify_dataset as classify_dataset
from .run import ClusterOptions as ClusterOptions
from .run import ClusterResult as ClusterResult
from .run import classify_source as classify_source
from .storage import RangeReader as RangeReader
from .storage import open_remote as open_remote
