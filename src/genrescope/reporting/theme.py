"""Colors of figures and pages, in one place, and the style sheet that all pages share."""

from __future__ import annotations

from functools import cache
from pathlib import Path

TEMPLATES = Path(__file__).parent / "templates"

# Figures are drawn with the light colors. A page replaces them by CSS variables, so that one figure serves
# both color schemes.
INK = "#1d2126"
MUTED = "#5b646e"
RULE = "#d5dae0"
ACCENT = "#1f6fb2"

# Paul Tol's "muted" scheme (https://sronpersonalpages.nl/~pault), safe for color-blind readers, and the same
# hues made lighter for a dark background. Neighbors in the list differ in lightness as well.
SERIES = (
    "#332288", "#cc6677", "#44aa99", "#ddcc77", "#88ccee",
    "#882255", "#117733", "#aa4499", "#999933", "#a8adb3",
)  # fmt: skip
DARK_SERIES = (
    "#8c83e6", "#dd7f8f", "#4fbdab", "#e0d080", "#88ccee",
    "#bf4f83", "#43a45e", "#c46fb8", "#adad4e", "#7d848c",
)  # fmt: skip

_LIGHT = {
    "ink": INK, "muted": MUTED, "rule": RULE, "accent": ACCENT, "ground": "#ffffff", "panel": "#f5f7f9",
    "warn": "#8a3b00", "warn-ground": "#fff3e4", "bad": "#a4202c", "bad-ground": "#fdeeee",
}  # fmt: skip
_DARK = {
    "ink": "#e5e9ee", "muted": "#9ba5b0", "rule": "#363d46", "accent": "#3d8fd6", "ground": "#111418",
    "panel": "#191e24", "warn": "#ffb777", "warn-ground": "#33230f", "bad": "#ff9a9f",
    "bad-ground": "#381a1d",
}  # fmt: skip

MUTED_VARIABLE = "var(--muted)"


def series_variable(index: int) -> str:
    """Return the CSS variable of a series' color; from the last color on, all series share that one.

    Parameters
    ----------
    index : int
        Position of the series, from 0.

    Returns
    -------
    str
        Such as ``var(--s3)``.
    """
    return f"var(--s{min(index, len(SERIES) - 1)})"


def css_variables() -> dict[str, str]:
    """Return the light colors, which figures are drawn with, and the CSS variable that replaces each."""
    series = {color: series_variable(index) for index, color in enumerate(SERIES)}
    return {INK: "var(--ink)", MUTED: MUTED_VARIABLE, RULE: "var(--rule)", ACCENT: "var(--accent)"} | series


@cache
def style_sheet() -> str:
    """Return the style sheet of every page, in light and, where the reader prefers it, in dark colors."""
    light = _color_rule(_LIGHT, SERIES, "light")
    dark = _color_rule(_DARK, DARK_SERIES, "dark")
    rules = (TEMPLATES / "base.css").read_text(encoding="utf8")
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n{rules}"


@cache
def chart_script() -> str:
    """Return the JavaScript module that draws the charts of reports and of the web interface."""
    return (TEMPLATES / "charts.js").read_text(encoding="utf8")


def _color_rule(colors: dict[str, str], series: tuple[str, ...], scheme: str) -> str:
    """Return the CSS rule that defines the variables of one color scheme."""
    named = colors | {f"s{index}": color for index, color in enumerate(series)}
    values = " ".join(f"--{name}: {value};" for name, value in named.items())
    return f":root {{ color-scheme: {scheme}; {values} }}"
