// The charts of the web interface and of the HTML reports: the genres over time as stacked areas, and bars.
//
// The web interface imports the functions. A report has this file inlined, followed by a call of drawPage, which
// reads the data of all charts from the JSON block of the page.

const SERIES = 10;
const OTHER = "other";
const MOST_BARS = 10;
const MOST_STEPS = 400;
const MOST_TICKS = 6;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];

/** Return a share as text; what is not quite all does not read as all of it. */
export const percent = (share) => (share > 0.995 && share < 1 ? "> 99 %" : `${Math.round(100 * share)} %`);

export function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** Make an element; text becomes text, never markup. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Give each genre its color; beyond the number of colors, those with the lowest scores share the last one. */
export function colors(scores) {
  const ranked = Object.keys(scores).sort((one, other) => scores[other] - scores[one]);
  const own = ranked.slice(0, ranked.length > SERIES ? SERIES - 1 : SERIES).sort();
  const place = (name) => (own.includes(name) ? own.indexOf(name) : SERIES - 1);
  return Object.fromEntries(ranked.map((name) => [name, `var(--s${place(name)})`]));
}

/** Return genres by falling mean, and their share in each segment; beyond ten, the rest is one. */
export function stack(segments) {
  const timeline = segments.map((piece) => {
    // The scores of a multi-label model may sum to more than the height of the chart.
    const sum = Math.max(1, Object.values(piece.scores).reduce((total, score) => total + score, 0));
    const shares = Object.entries(piece.scores).map(([name, score]) => [name, score / sum]);
    return { scores: Object.fromEntries(shares) };
  });
  const mean = (name) => timeline.reduce((sum, piece) => sum + piece.scores[name], 0) / timeline.length;
  const ranked = Object.keys(timeline[0].scores)
    .map((name) => [name, mean(name)])
    .sort((one, other) => other[1] - one[1]);
  const kept = ranked.length > SERIES ? ranked.slice(0, SERIES - 1) : ranked;
  const layers = kept.map(([name, share]) => ({ name, share, values: timeline.map((piece) => piece.scores[name]) }));
  if (kept.length < ranked.length) {
    const values = timeline.map((_, i) => Math.max(0, 1 - layers.reduce((sum, layer) => sum + layer.values[i], 0)));
    layers.push({ name: OTHER, share: ranked.slice(SERIES - 1).reduce((sum, [, share]) => sum + share, 0), values });
  }
  return layers;
}

/** Fill an SVG of 1000 by 100 with one area for each layer: its values at times from 0 to 1, above those before it. */
function drawStack(svg, times, layers) {
  const places = times.map((time) => Math.max(0, Math.min(1000, 1000 * time)).toFixed(1));
  let floor = new Array(places.length).fill(100);
  svg.replaceChildren(
    ...layers.map(({ name, color, values }) => {
      const ceiling = floor.map((level, i) => level - 100 * values[i]);
      const points = (levels) => levels.map((level, i) => `${places[i]},${level.toFixed(2)}`);
      // The namespace of the element that is there already: a page that fetches nothing names no address.
      const path = document.createElementNS(svg.namespaceURI, "path");
      path.setAttribute("d", `M${[...points(ceiling), ...points(floor).reverse()].join(" L")} Z`);
      path.style.fill = color;
      const title = document.createElementNS(svg.namespaceURI, "title");
      title.textContent = name;
      path.append(title);
      floor = ceiling;
      return path;
    }),
  );
}

/** Draw layers as steps: each value from its edge, 0 to 1, to the next one. */
function drawSteps(svg, edges, layers) {
  const times = edges.slice(1).flatMap((edge, i) => [edges[i], edge]);
  drawStack(svg, times, layers.map((layer) => ({ ...layer, values: layer.values.flatMap((value) => [value, value]) })));
}

/** Fill an SVG with the layers of a timeline, neighbors averaged where there are many. */
export function drawAreas(svg, timeline, layers, seconds, shades) {
  const step = Math.ceil(timeline.length / MOST_STEPS);
  const groups = [];
  for (let i = 0; i < timeline.length; i += step) groups.push([i, Math.min(i + step, timeline.length)]);
  const averaged = layers.map(({ name, values }) => {
    const means = groups.map(([from, to]) => values.slice(from, to).reduce((a, b) => a + b, 0) / (to - from));
    return { name, color: shadeOf(name, shades), values: means };
  });
  // Where segments overlap, each counts until the next one begins.
  drawSteps(svg, [0, ...groups.slice(1).map(([from]) => timeline[from].start / seconds), 1], averaged);
}

const shadeOf = (name, shades) => shades[name] ?? `var(--s${SERIES - 1})`;

/** Fill an axis with ticks: a text each, and a place from 0 to 1. */
function drawTicks(axis, ticks) {
  axis.replaceChildren(
    ...ticks.map(({ text, place }) => {
      const mark = make("span", {}, text);
      mark.style.left = `${100 * place}%`;
      if (place < 0.03) mark.className = "first";
      if (place > 0.97) mark.className = "last";
      return mark;
    }),
  );
}

export function drawAxis(axis, seconds) {
  const step = STEPS.find((one) => seconds / one <= MOST_TICKS) ?? 86400;
  const ticks = [];
  for (let tick = 0; tick <= seconds; tick += step) ticks.push({ text: clock(tick), place: tick / seconds });
  drawTicks(axis, ticks);
}

/** Fill a list with the names and colors of layers; the numbers are in the bars. */
function drawLegend(list, layers) {
  const seen = layers.filter((layer) => layer.share >= 0.005);
  list.replaceChildren(
    ...seen.map((layer) => {
      const swatch = make("i");
      swatch.style.background = layer.color;
      return make("li", {}, swatch, layer.name);
    }),
  );
}

/** Return a cell with a bar for a share from 0 to 1. */
function barCell(share, color) {
  if (!share) return make("td", {}, make("div", { className: "track" }));
  const bar = make("span");
  bar.style.width = `${100 * Math.max(0, Math.min(1, share))}%`;
  bar.style.background = color;
  return make("td", {}, make("div", { className: "track" }, bar));
}

/** Return ranked shares as a table of bars. */
export function bars(caption, shares, shade) {
  const rows = Object.entries(shares)
    .slice(0, MOST_BARS)
    .map(([name, share]) => {
      // As the headline has it; what would be 0 % or 1 % is given more exactly.
      const text = share < 0.0095 ? `${(100 * share).toFixed(1)} %` : percent(share);
      const value = make("td", { className: "value" }, text);
      return make("tr", {}, make("th", { scope: "row" }, name), barCell(share, shade(name)), value);
    });
  return make("table", { className: "bars" }, make("caption", {}, caption), make("tbody", {}, ...rows));
}

export const leader = (scores) => Object.entries(scores).reduce((best, one) => (one[1] > best[1] ? one : best));

const DRAW = {
  bars(table, { shares, colors }) {
    [...table.tBodies[0].rows].forEach((row, i) => row.cells[0].after(barCell(shares[i], colors[i])));
  },
};

/** Draw the charts of a report: each entry of the JSON block into the element with its id. */
export function drawPage(page) {
  const charts = JSON.parse(page.getElementById("charts").textContent);
  for (const [id, chart] of Object.entries(charts)) DRAW[chart.kind](page.getElementById(id), chart);
}
