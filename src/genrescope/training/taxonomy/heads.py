"""The heads of `genrescope.models.TaxonomyNetwork`, fitted on outputs of student and teachers.

Genres: `fit_prior_regression` is a logistic regression added to what the teachers themselves say of the
genres, so that the labels only have to correct it. It is fitted twice: on the teachers' outputs, to label
windows without labels for `fit_distilled_head`, and on the student's. Music: `fit_music_head`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.nn import functional

from genrescope.labels import Genre
from genrescope.models import DistilledHead, MusicHead, PriorRegression, TeacherOutputs
from genrescope.types import BoolArray, Float64Array, IntArray

_LBFGS_STEPS, _LBFGS_TOLERANCE = 150, 1e-7
# Least deviation of an input of the regression, as a share of the deviation of all inputs of its teacher.
_MIN_DEVIATION_SHARE = 1e-3
# Added to the deviations of the inputs of the heads that are fitted by gradient descent.
_MIN_DEVIATION = 1e-2
# Genres and collections with fewer clips than this are not weighted up further.
_MIN_GENRE_CLIPS, _MIN_COLLECTION_CLIPS = 3, 5


@dataclass(frozen=True)
class HeadSettings:
    """How the heads are fitted; the values were chosen leaving out one collection at a time.

    Attributes
    ----------
    prior_weights : tuple of float
        What the logarithms of the genre probabilities of AudioSet and of Last.fm's tags are multiplied by.
    centering : float
        Share of their means over the training clips that is taken off them.
    strength : float
        C of the regression: the penalty is the squared norm of the weights / 2 C.
    bias_penalty : float
        The penalty is this times the squared norm of the biases / 2. Without one, the biases learn how
        frequent the genres are in the collections.
    label_smoothing : float
        Share of the target that is spread over all genres of the clip's collection.
    genre_power, collection_power : float
        A clip of a genre with n clips weighs n to the power of minus this; the same for collections.
    hidden : int
        Units of the distilled head's perceptron.
    epochs, batch_size, learning_rate, weight_decay : float
        Of the distilled head: passes over the windows, and AdamW with a one-cycle schedule.
    music_strength : float
        C of the music head.
    not_music_weight : float
        Of a window that is not music, against one that is.
    """

    prior_weights: tuple[float, float] = (0.8, 0.5)
    centering: float = 0.3
    strength: float = 0.5
    bias_penalty: float = 30.0
    label_smoothing: float = 0.05
    genre_power: float = 0.1
    collection_power: float = 0.5
    hidden: int = 256
    epochs: int = 6
    batch_size: int = 512
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    music_strength: float = 1e-3
    not_music_weight: float = 4.0


class Targets(NamedTuple):
    """What is known of rows.

    Attributes
    ----------
    genre : ndarray of int, shape (rows,)
    mask : ndarray of bool, shape (rows, genres)
        The genres that the row's label tells apart: the softmax runs over these.
    weight : ndarray, shape (rows,)
    """

    genre: IntArray
    mask: BoolArray
    weight: Float64Array


def clip_weights(genre: IntArray, collections: Sequence[str], settings: HeadSettings) -> Float64Array:
    """Return the weights of clips, so that no genre and no collection dominates.

    Parameters
    ----------
    genre : ndarray of int, shape (clips,)
    collections : sequence of str
        Of each clip.
    settings : HeadSettings
        The two powers.

    Returns
    -------
    ndarray, shape (clips,)
        They sum to the number of clips.
    """
    genres = np.maximum(np.bincount(genre), _MIN_GENRE_CLIPS)[genre]
    _, index, counts = np.unique(np.asarray(collections), return_inverse=True, return_counts=True)
    sizes = np.maximum(counts, _MIN_COLLECTION_CLIPS)[index]
    weights = genres**-settings.genre_power * sizes**-settings.collection_power
    normalized: Float64Array = weights * len(genre) / weights.sum()
    return normalized


def fit_prior_regression(
    outputs: TeacherOutputs, targets: Targets, genres: Sequence[Genre], settings: HeadSettings
) -> PriorRegression:
    """Fit a logistic regression on top of the teachers' own genre probabilities.

    Parameters
    ----------
    outputs : TeacherOutputs
        Of the teachers or a student.
    targets : Targets
        Of each row.
    genres : sequence of Genre
        With their source classes, in the order of the targets' indices.
    settings : HeadSettings

    Returns
    -------
    PriorRegression
        In eval mode.
    """
    head = PriorRegression.for_genres(genres)
    with torch.no_grad():
        blocks = (outputs.embedding, outputs.musicnn)
        head.mean.copy_(torch.cat([block.mean(0) for block in blocks]))
        # Divided by the root of its size, each embedding has a norm of about one.
        head.scale.copy_(
            torch.cat(
                [
                    (block.std(0, correction=0) + _MIN_DEVIATION_SHARE * block.std(correction=0))
                    * block.shape[1] ** 0.5
                    for block in blocks
                ]
            )
        )
        head.weights.copy_(torch.tensor(settings.prior_weights))
        priors = head.log_priors(outputs)
        head.centers.copy_(settings.centering * torch.stack([prior.mean(0) for prior in priors]))
        offset = sum(
            weight * (prior - center)
            for weight, prior, center in zip(settings.prior_weights, priors, head.centers, strict=True)
        )
        assert isinstance(offset, Tensor)  # of two teachers
        weights, biases = fit_offset_regression(
            head.standardize(outputs).double().numpy(), offset.double().numpy(), targets, settings
        )
        head.regression.weight.copy_(torch.from_numpy(weights.T))
        head.regression.bias.copy_(torch.from_numpy(biases))
    return head.eval()


def fit_offset_regression(
    inputs: Float64Array, offset: Float64Array, targets: Targets, settings: HeadSettings
) -> tuple[Float64Array, Float64Array]:
    """Fit a multinomial logistic regression whose logits are added to fixed ones, by L-BFGS.

    Parameters
    ----------
    inputs : ndarray, shape (rows, features)
    offset : ndarray, shape (rows, genres)
        The fixed logits.
    targets : Targets
        The loss of a row is a cross-entropy over the genres of its mask.
    settings : HeadSettings
        Penalties and label smoothing.

    Returns
    -------
    weights : ndarray, shape (features, genres)
    biases : ndarray, shape (genres,)
    """
    features = inputs.shape[1]
    classes, mask = offset.shape[1], targets.mask
    smoothing = settings.label_smoothing
    wanted = (1 - smoothing) * np.eye(classes)[targets.genre] + smoothing * mask / mask.sum(1, keepdims=True)
    weight = targets.weight[:, None]

    def loss(parameters: Float64Array) -> tuple[float, Float64Array]:
        weights, biases = parameters[:-classes].reshape(features, classes), parameters[-classes:]
        logits = np.where(mask, inputs @ weights + biases + offset, -np.inf)
        logits -= logits.max(1, keepdims=True)
        exponentials = np.exp(logits)
        sums = exponentials.sum(1, keepdims=True)
        logs = np.where(mask, logits - np.log(sums), 0.0)
        gradient = weight * (exponentials / sums - wanted)
        value = (
            -(weight * wanted * logs).sum()
            + (weights**2).sum() / (2 * settings.strength)
            + settings.bias_penalty / 2 * (biases**2).sum()
        )
        slopes = (
            (inputs.T @ gradient + weights / settings.strength).ravel(),
            gradient.sum(0) + settings.bias_penalty * biases,
        )
        return float(value), np.concatenate(slopes)

    found = minimize(
        loss,
        np.zeros((features + 1) * classes),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _LBFGS_STEPS, "ftol": _LBFGS_TOLERANCE},
    ).x
    return found[:-classes].reshape(features, classes), found[-classes:]


def fit_distilled_head(
    outputs: TeacherOutputs,
    probabilities: Tensor,
    genres: Sequence[Genre],
    settings: HeadSettings,
    *,
    seed: int,
    device: torch.device,
) -> DistilledHead:
    """Fit a perceptron on a student's outputs to predict the genres that a head of the teachers gives.

    Parameters
    ----------
    outputs : TeacherOutputs
        Of the student, for windows of music.
    probabilities : Tensor, shape (windows, genres)
        The targets.
    genres : sequence of Genre
        Whose AudioSet classes the head sees.
    settings : HeadSettings
    seed : int
        Of the weights, of dropout and of the batches.
    device : torch.device
        That it is trained on.

    Returns
    -------
    DistilledHead
        On the CPU, in eval mode.
    """
    classes = sorted(
        {source.index for genre in genres for source in genre.sources if source.network == "audioset"}
    )
    generator = np.random.default_rng(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = DistilledHead(len(genres), classes, settings.hidden)
        # The perceptron starts as nothing beside the linear layer.
        last = head.perceptron[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        with torch.no_grad():
            inputs = head.join(outputs)
            head.mean.copy_(inputs.mean(0))
            head.scale.copy_(inputs.std(0) + _MIN_DEVIATION)
        head.to(device).train()
        moved, wanted = TeacherOutputs(*(part.to(device) for part in outputs)), probabilities.to(device)
        steps = max(1, settings.epochs * len(inputs) // settings.batch_size)
        optimizer = torch.optim.AdamW(
            head.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, settings.learning_rate, total_steps=steps + 1, pct_start=0.1
        )
        for _ in range(steps):
            chosen = torch.from_numpy(generator.integers(0, len(inputs), settings.batch_size)).to(device)
            logits = head(TeacherOutputs(*(part[chosen] for part in moved)))
            loss = functional.cross_entropy(logits, wanted[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            cycle.step()
    return head.to("cpu").eval()


def fit_music_head(outputs: TeacherOutputs, is_music: BoolArray, settings: HeadSettings) -> MusicHead:
    """Fit a logistic regression for music against everything else.

    Parameters
    ----------
    outputs : TeacherOutputs
        Of the student, for windows of both kinds.
    is_music : ndarray of bool, shape (windows,)
    settings : HeadSettings

    Returns
    -------
    MusicHead
        In eval mode.
    """
    from sklearn.linear_model import LogisticRegression

    head = MusicHead()
    inputs = head.join(outputs).numpy().astype(np.float64)
    mean, scale = inputs.mean(0), inputs.std(0) + _MIN_DEVIATION
    weights = np.where(is_music, 1.0, settings.not_music_weight)
    fitted = LogisticRegression(C=settings.music_strength, max_iter=300)
    fitted.fit((inputs - mean) / scale, is_music, sample_weight=weights)
    slope = fitted.coef_[0] / scale
    with torch.no_grad():
        head.regression.weight.copy_(torch.from_numpy(slope)[None])
        head.regression.bias.fill_(float(fitted.intercept_[0] - slope @ mean))
    return head.eval()
