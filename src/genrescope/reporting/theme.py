"""How pages and figures look: one palette for light and dark, and the style sheet."""

from __future__ import annotations

# Figures are drawn with the light colors; a page swaps them for variables, so that one figure
# serves both modes.
INK = "#1d2126"
MUTED = "#5b646e"
RULE = "#d5dae0"
ACCENT = "#1f6fb2"

# Paul Tol's "muted" scheme (https://sronpersonalpages.nl/~pault), safe for color-blind readers, and the same
# hues lifted for a dark ground. Neighbors in the list differ in lightness as well.
SERIES = (
    "#332288", "#cc6677", "#44aa99", "#ddcc77", "#88ccee",
    "#882255", "#117733", "#aa4499", "#999933", "#a8adb3",
)  # fmt: skip
DARK_SERIES = (
    "#8c83e6", "#dd7f8f", "#4fbdab", "#e0d080", "#88ccee",
    "#bf4f83", "#43a45e", "#c46fb8", "#adad4e", "#7d848c",
)  # fmt: skip

_LIGHT = {"ink": INK, "muted": MUTED, "rule": RULE, "accent": ACCENT, "ground": "#ffffff", "panel": "#f5f7f9"}
_LIGHT |= {"warn": "#8a3b00", "warn-ground": "#fff3e4", "bad": "#a4202c", "bad-ground": "#fdeeee"}
_DARK = {"ink": "#e5e9ee", "muted": "#9ba5b0", "rule": "#363d46", "accent": "#3d8fd6", "ground": "#111418"}
_DARK |= {
    "panel": "#191e24",
    "warn": "#ffb777",
    "warn-ground": "#33230f",
    "bad": "#ff9a9f",
    "bad-ground": "#381a1d",
}

_RULES = """
*, *::before, *::after { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 76rem; margin: 0 auto; padding: 3rem 1.25rem 6rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .5rem; letter-spacing: -.01em; }
h2 { font-size: 1.35rem; line-height: 1.3; margin: 3.5rem 0 1rem; padding-top: 1.25rem;
  border-top: 1px solid var(--rule); }
h3 { font-size: 1.05rem; margin: 2rem 0 .5rem; overflow-wrap: anywhere; }
p { margin: .6rem 0; max-width: 46rem; overflow-wrap: anywhere; }
a { color: var(--accent); }
.lead, .muted, figcaption, caption { color: var(--muted); }
.lead { font-size: 1.05rem; }
nav ul { list-style: none; margin: 1.5rem 0 0; padding: 0; display: flex; flex-wrap: wrap;
  gap: .25rem 1.25rem; }
.warning { background: var(--warn-ground); color: var(--warn); border-left: 4px solid var(--warn);
  padding: .75rem 1rem; border-radius: 0 .4rem .4rem 0; }
.scroll { overflow-x: auto; margin: 1.25rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .5rem; }
th, td { padding: .4rem .7rem; border-bottom: 1px solid var(--rule); text-align: right; white-space: nowrap; }
th:first-child, .words { text-align: left; }
td.long { white-space: normal; min-width: 12rem; }
thead th { color: var(--muted); font-weight: 600; border-bottom-width: 2px; vertical-align: bottom; }
tbody th { font-weight: 500; }
tr.marked > * { background: var(--warn-ground); color: var(--warn); }
figure { margin: 1.75rem 0; }
figure .scroll { margin: 0; }
figure svg, figure img { display: block; max-width: 100%; height: auto; }
figure svg text { font-family: inherit !important; }
figcaption { font-size: .9rem; margin-top: .5rem; max-width: 46rem; }
details { margin: 1.25rem 0; }
summary { cursor: pointer; font-weight: 600; }
footer { margin-top: 4rem; color: var(--muted); font-size: .85rem; }
@media (max-width: 40rem) {
  main { padding-top: 2rem; }
}
"""


def variables() -> dict[str, str]:
    """Return the light colors that figures are drawn with, and the variable each becomes in a page."""
    series = {color: f"var(--s{place})" for place, color in enumerate(SERIES)}
    return {INK: "var(--ink)", MUTED: "var(--muted)", RULE: "var(--rule)", ACCENT: "var(--accent)"} | series


def style_sheet() -> str:
    """Return the style sheet of every page, in light and, where the reader prefers it, in dark."""
    light = _block(_LIGHT, SERIES, "light")
    dark = _block(_DARK, DARK_SERIES, "dark")
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}{_RULES}"


def _block(colors: dict[str, str], series: tuple[str, ...], scheme: str) -> str:
    """Return the rule that defines one mode's variables."""
    named = colors | {f"s{place}": color for place, color in enumerate(series)}
    values = " ".join(f"--{name}: {value};" for name, value in named.items())
    return f":root {{ color-scheme: {scheme}; {values} }}"
