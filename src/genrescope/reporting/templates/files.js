// The table of files of a page: filters, and the details of a file, which are drawn when its row is opened.
// Text from files becomes text nodes, never markup. Needs charts.js and tables.js before it.

const OPEN_AT_FIRST = 3;

function drawTimeline(figure, { edges, layers, ticks, spans, more }, shade) {
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length / 1000;
  const shares = layers.map(([name, values]) => {
    return { name, color: shade(name), share: mean(values), values: values.map((value) => value / 1000) };
  });
  const svg = figure.querySelector("svg");
  drawSteps(svg, edges, shares);
  drawTicks(figure.querySelector(".axis"), ticks.map(([text, place]) => ({ text, place })));
  drawLegend(figure.querySelector(".legend"), shares);
  const label = `Genres over time: ${spans.map((span) => span.join(" ")).join("; ")}`;
  svg.setAttribute("aria-label", label);
  const rows = spans.map(([time, name]) => {
    return make("tr", {}, make("th", { scope: "row" }, time), make("td", { className: "text" }, name));
  });
  figure.querySelector("tbody").replaceChildren(...rows);
  if (more) figure.querySelector("table").after(make("p", { className: "muted" }, `and ${more} more`));
}

/** Draw the details of a file as a row of its own. */
function drawDetails(file, data) {
  const row = document.getElementById("details").content.firstElementChild.cloneNode(true);
  const shade = (name) => `var(--s${data.series[name] ?? SERIES - 1})`;
  const answers = row.querySelector(".answers");
  if (Object.keys(file.scores).length) answers.append(bars("Genres", file.scores, shade));
  if (file.styles) answers.append(bars("Styles", file.styles, () => "var(--muted)"));
  if (!answers.childElementCount) answers.append(make("p", { className: "muted" }, "No genres: it is not music."));
  const figure = row.querySelector(".timeline");
  if (file.timeline) drawTimeline(figure, file.timeline, shade);
  else figure.remove();
  return row;
}

DRAW.files = (table, data) => {
  const get = (id) => document.getElementById(id);
  const [genre, state] = [get("genre"), get("state")];
  const filters = [
    (row) => !genre.value || row.dataset.genre === genre.value,
    (row) => !state.value || row.dataset.state === state.value,
  ];
  const changed = (some, all) => {
    get("status").textContent = `${count(some)} of ${count(all)} files`;
    get("all").hidden = !(genre.value || state.value || get("search").value);
  };
  const fileOf = new Map([...table.tBodies[0].rows].map((row, place) => [row, data.files[place]]));
  // The name of a file becomes the button that opens its row.
  const enter = (entry) => {
    const { row } = entry;
    const name = row.querySelector(".name");
    const button = make("button", { type: "button", className: "name" }, ...name.childNodes);
    button.setAttribute("aria-expanded", "false");
    name.replaceWith(button);
    row.addEventListener("click", (event) => {
      // A click at the end of a selection of text selects, and opens nothing.
      if (event.target.closest("button") || getSelection().isCollapsed) toggle(entry);
    });
  };
  const toggle = (entry) => {
    const open = entry.below === null;
    entry.row.querySelector("button").setAttribute("aria-expanded", open);
    if (open) {
      entry.below = drawDetails(fileOf.get(entry.row), data);
      entry.row.after(entry.below);
      spanColumns();
    } else {
      entry.below.remove();
      entry.below = null;
    }
  };
  // Narrow windows have fewer columns, and a cell that spans more of them would make room for the others.
  const spanColumns = () => {
    const columns = [...table.tHead.rows[0].cells].filter((cell) => cell.offsetWidth).length;
    for (const row of table.querySelectorAll("tr.details")) row.cells[0].colSpan = columns;
  };
  addEventListener("resize", spanColumns);
  document.documentElement.classList.add("script");
  const view = new SortableTable(table, { filters, changed, enter });

  get("search").addEventListener("input", () => view.search(get("search").value));
  for (const select of [genre, state]) select.addEventListener("change", () => view.refresh());
  get("filters").addEventListener("submit", (event) => event.preventDefault());
  get("filters").addEventListener("reset", () => setTimeout(() => view.search("")));
  // A genre of the summary filters by it.
  for (const row of document.querySelectorAll("#genres tbody tr")) {
    const name = row.cells[0].textContent;
    if (![...genre.options].some((option) => option.value === name)) continue;
    const button = make("button", { type: "button", title: `Show files of the genre ${name}` }, name);
    button.addEventListener("click", () => {
      genre.value = name;
      view.refresh();
      get("files-title").scrollIntoView();
      genre.focus({ preventScroll: true });
    });
    row.cells[0].replaceChildren(button);
  }
  get("filters").hidden = view.entries.length < 2;
  if (view.entries.length <= OPEN_AT_FIRST) view.entries.forEach(toggle);
};

drawPage(document);
