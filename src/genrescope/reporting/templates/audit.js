// The page of an audit: filters, sorts and pages through findings; only those that are shown are in the document.
// Text from files becomes text nodes, never markup. Needs charts.js before it, for make and clock.

const PER_PAGE = 20;
const FILES_AT_FIRST = 2;
const FILES_PER_STEP = 10;
const PLACES_AT_FIRST = 12;

const place = (seconds) => {
  const tenths = Math.round(10 * seconds) % 10;
  return tenths ? `${clock(Math.floor(seconds + 1e-6))}.${tenths}` : clock(seconds);
};
const reach = (start, end) => (end - start < 0.1 ? place(start) : `${place(start)} to ${place(end)}`);
const words = (kind) => kind.replaceAll("_", " ");

/** Mark the spans of a track, in seconds, in its spectrogram, or in a plain bar where there is none. */
function drawPicture(file, spans) {
  if (!file.picture && !(spans.length && file.seconds)) return [];
  const picture = make("div", { className: file.picture ? "picture" : "picture bare" });
  if (file.picture) {
    picture.append(make("img", { src: file.picture, alt: `Spectrogram of ${file.name}`, loading: "lazy" }));
  } else {
    picture.setAttribute("aria-hidden", "true");
  }
  if (file.seconds) {
    for (const [start, end] of spans) {
      const mark = make("span");
      mark.style.left = `${Math.min(100, (100 * start) / file.seconds)}%`;
      mark.style.width = `${Math.min(100, (100 * (end - start)) / file.seconds)}%`;
      picture.append(mark);
    }
  }
  return [picture];
}

/** Make buttons that play a track from each of its spans. */
function drawPlaces(spans, player, name) {
  const list = make("ul", { className: "where" });
  const show = (some) => {
    for (const [start, end] of some) {
      if (!player) {
        list.append(make("li", {}, reach(start, end)));
        continue;
      }
      const button = make("button", { type: "button" }, `▶ ${reach(start, end)}`);
      button.setAttribute("aria-label", `▶ ${reach(start, end)}: play ${name} from there`);
      button.addEventListener("click", () => {
        player.currentTime = start;
        player.play().catch(() => {});
      });
      list.append(make("li", {}, button));
    }
  };
  show(spans.slice(0, PLACES_AT_FIRST));
  const rest = spans.slice(PLACES_AT_FIRST);
  if (rest.length) {
    const more = make("button", { type: "button" }, `${rest.length} more places`);
    more.addEventListener("click", () => {
      more.parentElement.remove();
      show(rest);
    });
    list.append(make("li", {}, more));
  }
  return list;
}

/** Show a track: name, what is known of it, spectrogram, player, and where in it. */
function drawFile(file, spans, marks) {
  const title = make("h4", {}, file.name || file.path, ...marks);
  const box = make("div", { className: "file", role: "group" }, title);
  box.setAttribute("aria-label", file.name || file.path);
  if (file.path && file.path !== file.name) box.append(make("p", { className: "about" }, file.path));
  const about = [file.label && `label: ${file.label}`, file.about].filter(Boolean).join(" · ");
  if (about) box.append(make("p", { className: "about" }, about));
  box.append(...drawPicture(file, spans));
  let player = null;
  if (file.audio && file.url) {
    player = make("audio", { controls: true, preload: "none", src: file.url });
    player.setAttribute("aria-label", `Player of ${file.name}`);
    player.addEventListener("play", () => {
      for (const other of document.querySelectorAll("audio")) if (other !== player) other.pause();
    });
    player.addEventListener("error", () => {
      const link = make("a", { href: file.url }, "open the file");
      if (!box.querySelector(".failed")) {
        box.append(make("p", { className: "failed" }, "This browser cannot play it: ", link, "."));
      }
    });
    box.append(player);
  }
  if (spans.length) box.append(drawPlaces(spans, player, file.name));
  return box;
}

/** Draw which part of the first track lies at which part of the second. */
function drawAlignment(figure, finding, files) {
  const [first, second] = files;
  const seconds = Math.max(first.seconds, second.seconds);
  const of = (track) => finding.spans.filter(([which]) => which === track).map(([, start, end]) => [start, end]);
  const [left, right] = [of(0), of(1)];
  const pairs = left.slice(0, right.length).map((span, i) => [span, right[i]]);
  figure.hidden = !seconds || !pairs.length;
  if (figure.hidden) return;
  const svg = figure.querySelector("svg");
  const add = (tag, attributes) => {
    const element = document.createElementNS(svg.namespaceURI, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    svg.append(element);
  };
  const x = (time) => Math.max(0, Math.min(1000, (1000 * time) / seconds)).toFixed(2);
  add("rect", { class: "bar", x: 0, y: 1, width: x(first.seconds), height: 18 });
  add("rect", { class: "bar", x: 0, y: 65, width: x(second.seconds), height: 18 });
  for (const [[a, b], [c, d]] of pairs) {
    const points = [[a, 1], [b, 1], [b, 19], [d, 65], [d, 83], [c, 83], [c, 65], [a, 19]];
    add("polygon", { class: "same", points: points.map(([time, y]) => `${x(time)},${y}`).join(" ") });
  }
  const [one, other] = [first.name, second.name];
  const lines = pairs.slice(0, 5).map(([[a, b], [c, d]]) => `${reach(a, b)} above is ${reach(c, d)} below`);
  const text = `Above ${one}, below ${other}. ${lines.join("; ")}${pairs.length > 5 ? "; ..." : ""}.`;
  svg.setAttribute("aria-label", `Alignment: ${text}`);
  figure.querySelector("figcaption").textContent = text;
}

function drawFinding(finding, data) {
  const card = document.getElementById("card").content.firstElementChild.cloneNode(true);
  const find = (selector) => card.querySelector(selector);
  find(".what").textContent = words(finding.kind);
  find(".score").textContent = `score ${finding.score.toFixed(2)} · ${finding.action}`;
  find(".message").textContent = finding.message;
  find(".advice span").textContent = data.advice[finding.advice];
  const files = finding.files.map((one) => data.files[one]);
  const box = find(".files");
  let shown = 0;
  const showFiles = (count) => {
    for (; shown < Math.min(files.length, count); shown++) {
      const at = shown;
      const marks = [];
      if (finding.keep === at) marks.push(" ", make("span", { className: "mark keep" }, "keep"));
      if (finding.drop.includes(at)) marks.push(" ", make("span", { className: "mark drop" }, data.dropMark));
      const spans = finding.spans.filter(([which]) => which === at).map(([, start, end]) => [start, end]);
      box.append(drawFile(files[at], spans, marks));
    }
  };
  showFiles(FILES_AT_FIRST);
  if (files.length > shown) {
    const more = make("button", { type: "button" });
    const name = () => (more.textContent = `Show more tracks (${files.length - shown} of ${files.length + finding.more})`);
    name();
    more.addEventListener("click", () => {
      showFiles(shown + FILES_PER_STEP);
      name();
      if (shown === files.length) more.remove();
    });
    box.after(more);
  }
  const figure = find(".alignment");
  if (finding.pair) drawAlignment(figure, finding, files);
  else figure.hidden = true;
  const evidence = Object.entries(finding.evidence);
  if (finding.label) evidence.unshift(["suggested label", finding.label]);
  find(".evidence tbody").append(
    ...evidence.map(([name, value]) =>
      make("tr", {}, make("th", { scope: "row" }, words(name)), make("td", {}, value)),
    ),
  );
  if (!evidence.length) find(".evidence").remove();
  return card;
}

/** What a search looks in: built once, when the first search is made. */
function searchTexts(data) {
  const names = data.files.map((file) => `${file.name}\n${file.path}\n${file.label ?? ""}`);
  return data.findings.map((finding) =>
    [finding.message, words(finding.kind), finding.label, ...finding.files.map((one) => names[one])]
      .join("\n")
      .toLowerCase(),
  );
}

function startPage() {
  const data = JSON.parse(document.getElementById("charts").textContent);
  const get = (id) => document.getElementById(id);
  if (!get("filters")) return;
  const kinds = Object.keys(data.descriptions);
  const order = new Map([...get("kind").options].map((option, i) => [option.value, i]));
  const fileOf = (one) => data.files[data.findings[one].files[0]]?.name ?? "";
  const SORTS = {
    score: () => 0,
    kind: (a, b) => order.get(data.findings[a].kind) - order.get(data.findings[b].kind),
    path: (a, b) => (fileOf(a) < fileOf(b) ? -1 : fileOf(a) > fileOf(b) ? 1 : 0),
  };
  let texts = null;
  let chosen = [];
  let page = 0;

  const show = () => {
    const pages = Math.max(1, Math.ceil(chosen.length / PER_PAGE));
    page = Math.min(page, pages - 1);
    const some = chosen.slice(page * PER_PAGE, (page + 1) * PER_PAGE);
    get("cards").replaceChildren(...some.map((one) => drawFinding(data.findings[one], data)));
    const first = chosen.length ? page * PER_PAGE + 1 : 0;
    get("status").textContent =
      `${chosen.length} of ${data.findings.length} findings` +
      (pages > 1 ? `; ${first} to ${first + some.length - 1} are shown` : "");
    get("place").textContent = `Page ${page + 1} of ${pages}`;
    get("pager").hidden = pages < 2;
    get("previous").disabled = page === 0;
    get("next").disabled = page === pages - 1;
  };
  const filter = () => {
    const [kind, action] = [get("kind").value, get("action").value];
    const least = Number(get("score").value) || 0;
    const search = get("search").value.trim().toLowerCase();
    if (search) texts ??= searchTexts(data);
    chosen = [];
    data.findings.forEach((finding, i) => {
      if (kind && finding.kind !== kind) return;
      if (action && finding.action !== action) return;
      if (finding.score < least || (search && !texts[i].includes(search))) return;
      chosen.push(i);
    });
    chosen.sort(SORTS[get("sort").value]);
    page = 0;
    show();
  };
  const turn = (step) => {
    page += step;
    show();
    get("findings-title").scrollIntoView();
    get("status").focus();
  };
  let timer = 0;
  get("filters").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(filter, 120);
  });
  get("filters").addEventListener("submit", (event) => event.preventDefault());
  get("previous").addEventListener("click", () => turn(-1));
  get("next").addEventListener("click", () => turn(1));
  get("status").tabIndex = -1;
  for (const row of get("kinds").tBodies[0].rows) {
    const kind = row.cells[0].textContent;
    if (!kinds.includes(kind)) continue;
    const button = make("button", { type: "button" }, kind);
    button.title = `Show findings of the kind ${words(kind)}`;
    button.addEventListener("click", () => {
      get("kind").value = kind;
      filter();
      get("findings-title").scrollIntoView();
      get("status").focus();
    });
    row.cells[0].replaceChildren(button);
  }
  // A link may name a kind: page.html#kind=clipping.
  const wanted = new URLSearchParams(location.hash.slice(1)).get("kind");
  if (kinds.includes(wanted)) get("kind").value = wanted;
  get("filters").hidden = false;
  filter();
}

startPage();
