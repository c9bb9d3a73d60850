"""Optimizers and learning rate schedules, by the settings of a run."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from genrescope.errors import ConfigError
from genrescope.models import Network
from genrescope.training.config import Config, OptimizerConfig

# Share of the steps in which the rate of the one-cycle schedule rises.
WARM_UP = 0.2


def create_optimizer(network: Network, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Build the optimizer of a network.

    Parameters
    ----------
    network : Network
        Whose trainable parameters are optimized, those of a backbone at a smaller rate.
    config : OptimizerConfig
        Name, rates, weight decay and further arguments.

    Raises
    ------
    ConfigError
        ``invalid_config``: this torch has no such optimizer, or it does not take an argument, or not these
        parameters.
    """
    by_name = {name.lower(): kind for name, kind in vars(torch.optim).items() if isinstance(kind, type)}
    if config.name not in by_name:
        raise ConfigError(
            "invalid_config",
            f"torch {torch.__version__} has no optimizer {config.name}",
            "install a newer torch, or choose another optimizer.name",
        )
    kind: Any = by_name[config.name]
    taken = inspect.signature(kind).parameters
    # Keras' smoothing and epsilon, which the paper trained with.
    arguments: dict[str, Any] = {"alpha": 0.9, "eps": 1e-7} if config.name == "rmsprop" else {}
    arguments |= dict(config.options)
    unknown = [name for name in arguments if name not in taken]
    if "weight_decay" in taken:
        arguments["weight_decay"] = config.weight_decay
    elif config.weight_decay:
        raise ConfigError(
            "invalid_config", f"{config.name} has no weight decay", "set optimizer.weight_decay=0"
        )
    if unknown:
        listed = ", ".join(name for name in taken if name not in ("params", "lr", "weight_decay"))
        raise ConfigError(
            "invalid_config",
            f"{config.name} takes no argument {unknown[0]!r}",
            f"it takes in optimizer.options: {listed}",
        )
    try:
        optimizer: torch.optim.Optimizer = kind(
            _parameter_groups(network, config), lr=config.learning_rate, **arguments
        )
    except (TypeError, ValueError) as reason:
        raise ConfigError(
            "invalid_config",
            f"{config.name} cannot be used here: {reason}",
            "change optimizer.options, or choose another optimizer.name",
        ) from None
    return optimizer


def _parameter_groups(network: Network, settings: OptimizerConfig) -> list[dict[str, Any]]:
    """Group the trainable parameters: the network's own first, then a backbone's at a smaller rate."""
    own: list[Tensor] = []
    pretrained: list[Tensor] = []
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            # `PretrainedNetwork` holds its backbone under this name.
            (pretrained if name.startswith("backbone.") else own).append(parameter)
    groups: list[dict[str, Any]] = [{"params": own, "lr": settings.learning_rate}]
    if pretrained:
        groups.append({"params": pretrained, "lr": settings.learning_rate * settings.backbone_lr_scale})
    return groups


def create_schedule(
    optimizer: torch.optim.Optimizer, config: Config, steps: int, *, monitor: str = "validation_accuracy"
) -> dict[str, Any] | None:
    """Build the learning rate schedule.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Whose rates are changed.
    config : Config
        Of the schedule, and the number of epochs.
    steps : int
        Steps of an epoch.
    monitor : str
        The metric that the plateau schedule waits for a rise of.

    Returns
    -------
    dict or None
        Scheduler and interval, as Lightning takes them; None for a constant rate.
    """
    settings, schedulers = config.optimizer, torch.optim.lr_scheduler
    total = steps * config.train.epochs
    if settings.schedule == "one-cycle":
        return {"scheduler": _one_cycle(optimizer, total), "interval": "step"}
    if settings.schedule == "cosine":
        return {"scheduler": schedulers.CosineAnnealingLR(optimizer, total), "interval": "step"}
    if settings.schedule == "step":
        return {"scheduler": schedulers.StepLR(optimizer, settings.step_epochs, settings.step_factor)}
    if settings.schedule == "plateau":
        plateau = schedulers.ReduceLROnPlateau(
            optimizer, mode="max", factor=settings.plateau_factor, patience=settings.plateau_patience
        )
        return {"scheduler": plateau, "monitor": monitor}
    return None


def _one_cycle(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """Return the schedule of Smith and Topin, "Super-Convergence", 2019: warm-up, then a decay to near 0."""
    # A warm-up of exactly one step is a phase of length 0 to torch, which divides by it.
    warm_up = WARM_UP if WARM_UP * steps != 1 else 1.2 / steps
    peaks = [group["lr"] for group in optimizer.param_groups]
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        peaks,
        total_steps=steps,
        pct_start=warm_up,
        cycle_momentum="momentum" in optimizer.defaults or "betas" in optimizer.defaults,
    )
