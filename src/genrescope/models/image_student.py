"""An image network that predicts the outputs of the teachers, so that it is pre-trained on unlabeled sound.

The paper proposes VGG16 and Inception v3 with weights of photographs; this gives the same networks weights
of music, by distillation instead of labels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from genrescope.labels import STYLES
from genrescope.models.backbones.efficientat import AUDIOSET_CLASSES, embedding_size
from genrescope.models.backbones.imagenet import ImageNetwork, InceptionV3, Vgg16
from genrescope.models.initialization import initialize_weights
from genrescope.models.student import MUSICNN_SIZE, MUSICNN_TAGS, WIDTH

# By the names of `backbones.registry`.
IMAGE_NETWORKS: dict[str, Callable[[], ImageNetwork]] = {"vgg16": Vgg16, "inception-v3": InceptionV3}
_HIDDEN = 512


class ImageStudent(nn.Module):
    """Log-mel in dB, as ``features.SPECTROGRAM_LOG_MEL`` gives it -> the outputs of one or two teachers.

    Input (segments, 128, frames), any number of frames. A hidden layer lies between the network's embedding
    and the outputs, so that the embedding need not be a linear function of the teachers' outputs.

    Parameters
    ----------
    network : ImageNetwork
        What is pre-trained; its weights are what is written afterwards.
    two_teachers : bool
        Whether musicnn's outputs are predicted besides EfficientAT's; then also all AudioSet classes, and not
        the styles alone.
    """

    def __init__(self, network: ImageNetwork, *, two_teachers: bool) -> None:
        super().__init__()
        self.network = network
        embedding = embedding_size(WIDTH)
        self.sizes: tuple[int, ...] = (embedding, len(STYLES))
        if two_teachers:
            self.sizes = (embedding, AUDIOSET_CLASSES, MUSICNN_SIZE, MUSICNN_TAGS)
        self.head = nn.Sequential(
            nn.Linear(network.size, _HIDDEN),
            nn.Hardswish(),
            nn.Dropout(0.1),
            nn.Linear(_HIDDEN, sum(self.sizes)),
        )

    def forward(self, batch: Tensor) -> tuple[Tensor, ...]:
        """Return what the teachers would say of ``batch``: embedding and logits, of two also musicnn's."""
        return self.head(self.network.embed(batch)).split(self.sizes, dim=1)  # type: ignore[no-any-return]


def build_image_student(name: str, *, two_teachers: bool, seed: int) -> ImageStudent:
    """Return an image network with random weights that is to predict the outputs of the teachers.

    torch's random state is left as it is.

    Parameters
    ----------
    name : {"vgg16", "inception-v3"}
    two_teachers : bool
        As of `ImageStudent`.
    seed : int
        Of the weights.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        student = ImageStudent(IMAGE_NETWORKS[name](), two_teachers=two_teachers)
        initialize_weights(student)
    return student
