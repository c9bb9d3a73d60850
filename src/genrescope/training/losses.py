"""The losses that networks are trained with: functions of logits and targets, by the settings of a run.

To add one, write a function of logits and targets, and return it from `create_loss`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from genrescope.models import smoothed_cross_entropy
from genrescope.training.config import TrainConfig
from genrescope.types import Float64Array, IntArray

Loss = Callable[[Tensor, Tensor], Tensor]


def create_loss(config: TrainConfig, weights: Float64Array | None = None) -> Loss:
    """Return the loss that a run minimizes.

    Parameters
    ----------
    config : TrainConfig
        ``loss`` and ``focal_gamma``.
    weights : ndarray, shape (classes,), optional
        Of the genres; None: all alike.

    Returns
    -------
    callable
        From logits and targets, both (segments, classes), to the mean loss; targets are distributions.
    """
    if config.loss == "cross-entropy" and weights is None:
        return smoothed_cross_entropy
    gamma = config.focal_gamma if config.loss == "focal" else 0.0
    factors = torch.ones(1) if weights is None else torch.from_numpy(weights).float()
    return lambda logits, targets: focal_loss(logits, targets * factors.to(targets.device), gamma=gamma)


def focal_loss(logits: Tensor, targets: Tensor, *, gamma: float) -> Tensor:
    """Return the mean focal loss, computed in float32 also under bfloat16 autocast.

    Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, with a softmax and soft targets.

    Parameters
    ----------
    logits : Tensor, shape (segments, classes)
    targets : Tensor, shape (segments, classes)
        Smoothed or mixed labels, perhaps weighted.
    gamma : float
        Exponent of the weight ``1 - probability``; 0: cross-entropy.
    """
    logarithms = functional.log_softmax(logits.float(), dim=1)
    if gamma:
        # At a probability of 1 the gradient of a power below 1 would be infinite.
        targets = targets * (1 - logarithms.exp()).clamp(min=1e-6) ** gamma
    return -(targets * logarithms).sum(dim=1).mean()


def balanced_weights(targets: IntArray, classes: int) -> Float64Array:
    """Return weights by which each class counts as much as any other, as scikit-learn has them.

    Parameters
    ----------
    targets : ndarray of int, shape (items,)
        Class of each training item.
    classes : int
        Number of classes.

    Returns
    -------
    ndarray, shape (classes,)
        Their mean over the items is 1.
    """
    counts = np.bincount(targets, minlength=classes)
    present: Float64Array = np.maximum(counts, 1) * np.count_nonzero(counts)
    return len(targets) / present
