// The page: takes files, sends them to the server one after the other, and lists the answers.

import { Problem, classify, example, models, storeToken } from "./api.js";
import { clock, make } from "./charts.js";
import { Recorder, canRecord } from "./recorder.js";
import { decode, wav } from "./audio.js";
import { toCsv, toJson } from "./export.js";
import { readable, summary, terms } from "./words.js";
import { View } from "./view.js";

const MAX_ATTEMPTS = 20;
const byId = (id) => document.getElementById(id);
const entries = [];
const view = new View({ onRetry: retry });
let limits = null;
let cards = [];
let names = {};
let shown = null;
let running = false;

// Adding files

function add(files, properties = {}) {
  const added = [...files].map((file) => ({ file, audio: file, name: file.name, state: "waiting", ...properties }));
  if (!added.length) return;
  entries.push(...added);
  byId("notice").replaceChildren();
  byId("work").hidden = false;
  byId("guide").hidden = true;
  byId("drop").classList.add("compact");
  byId("work").classList.toggle("many", entries.length > 1);
  // Above a list, and below a single answer; the order of the keyboard is that of the eyes.
  if (entries.length > 1) byId("work").prepend(byId("tools"));
  else byId("work").append(byId("tools"));
  if (!shown || shown.row || shown.problem) select(added[0]);
  draw();
  run();
}

async function addExample() {
  try {
    add([await example()], { isExample: true });
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    notice(problem);
  }
}

async function run() {
  if (running) return;
  running = true;
  try {
    let entry;
    while ((entry = entries.find((one) => one.state === "waiting"))) await analyze(entry);
  } finally {
    running = false;
  }
}

/** Classify one file and show its answer or failure. */
async function analyze(entry) {
  update(entry, { state: "analyzing", problem: null });
  try {
    const { tags, ...answer } = await sendWithRetries(entry);
    const row = readable(answer, names);
    update(entry, { state: "done", answer, row, tags, cover: picture(tags.cover), card: cardOf(entry) });
    announce(`${label(entry)}: ${summary(row)}`);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (problem.status === 401) askForToken();
    update(entry, { state: "failed", problem });
    announce(`${entry.name}: failed. ${problem.message} ${problem.hint}`);
  }
}

/** Send a file; where the server is busy, again after the time that it names. */
async function sendWithRetries(entry) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await send(entry);
    } catch (problem) {
      if (problem.code === "audio_unreadable" && !entry.converted && (await convert(entry))) continue;
      if (!problem.wait || attempt >= MAX_ATTEMPTS) throw problem;
      update(entry, { state: `the server is busy, again in ${problem.wait} s` });
      await new Promise((resolve) => setTimeout(resolve, 1000 * problem.wait));
    }
  }
}

function send(entry) {
  if (limits && entry.audio.size > limits.max_bytes) {
    const size = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
    throw new Problem({
      code: "upload_too_large",
      detail: `${entry.name} has ${size(entry.audio.size)}; this server takes ${size(limits.max_bytes)}.`,
      hint: "Choose a shorter excerpt, or a compressed format such as mp3, ogg or flac.",
    });
  }
  entry.model = byId("model").value;
  return classify(entry.audio, entry.name, entry.model);
}

/** Decode in the browser what the server could not, to be sent as WAV; return whether it succeeded. */
async function convert(entry) {
  try {
    entry.audio = wav(await decode(entry.file));
  } catch {
    return false;
  }
  entry.converted = true;
  if (entry === shown) view.loadAudio(entry);
  return true;
}

function retry(entry) {
  update(entry, { state: "waiting", problem: null });
  byId("detail").focus();
  run();
}

/** Return a cover as a file, whose type the server has found by its content. */
function picture(cover) {
  if (!cover) return null;
  return new Blob([Uint8Array.from(atob(cover.data), (letter) => letter.charCodeAt(0))], { type: cover.media_type });
}

const cardOf = (entry) => cards.find((card) => card.name === entry.model) ?? cards[0];

// The list

const label = (entry) => entry.tags?.title || entry.name;

const ORDERS = {
  added: () => 0,
  name: (one, other) => label(one).localeCompare(label(other), undefined, { numeric: true }),
  genre: (one, other) => genreOf(one).localeCompare(genreOf(other)) || scoreOf(other) - scoreOf(one),
  high: (one, other) => scoreOf(other) - scoreOf(one),
  low: (one, other) => scoreOf(one) - scoreOf(other),
};
const genreOf = (entry) => (entry.row.not_music ? "not music" : entry.row.genre);
// What is not music is below all music.
const scoreOf = (entry) => (entry.row.not_music ? -1 : entry.row.score);

/** Return the entries in the chosen order; but for names, those without an answer come last. */
function sorted() {
  const order = byId("order").value;
  if (order === "added" || order === "name") return entries.toSorted(ORDERS[order]);
  const answered = entries.filter((entry) => entry.row);
  return [...answered.sort(ORDERS[order]), ...entries.filter((entry) => !entry.row)];
}

function update(entry, changes) {
  Object.assign(entry, changes);
  draw();
  if (entry === shown) view.show(entry);
}

function select(entry) {
  shown = entry;
  view.show(entry);
  draw();
}

/** Show the entry that was chosen in the list; where it is below the list, bring it into view. */
function choose(entry) {
  select(entry);
  const detail = byId("detail");
  if (detail.offsetTop < byId("files-list").offsetTop + byId("files-list").offsetHeight) return;
  detail.focus({ preventScroll: true });
  detail.scrollIntoView();
}

function draw() {
  byId("save").hidden = !entries.some((entry) => entry.row);
  const ended = entries.filter((entry) => entry.row || entry.problem).length;
  byId("count").textContent = ended < entries.length ? `${ended} of ${entries.length} done` : `${ended} files`;
  entries.forEach((entry) => {
    entry.button ??= listButton(entry);
    const [name, artist, state] = entry.button.children;
    name.textContent = label(entry);
    artist.textContent = entry.tags?.artist ?? "";
    state.textContent = entry.row ? summary(entry.row) : entry.state;
    entry.button.className = entry.problem ? "failed" : entry.row?.unsure && !entry.row.not_music ? "unsure" : "";
    entry.button.setAttribute("aria-current", String(entry === shown));
  });
  arrange();
}

/** Put the list in order; what has the focus keeps it. */
function arrange() {
  const items = sorted().map((entry) => entry.button.parentNode);
  if (items.every((item, place) => item === byId("list").children[place])) return;
  const focused = document.activeElement;
  byId("list").append(...items);
  if (byId("list").contains(focused)) focused.focus({ preventScroll: true });
}

function listButton(entry) {
  const button = make("button", { type: "button", title: entry.name, onclick: () => choose(entry) });
  button.append(...["name", "artist", "state"].map((className) => make("span", { className })));
  byId("list").append(make("li", {}, button));
  return button;
}

/** Give screen readers a text to read out. */
function announce(text) {
  byId("status").textContent = text;
}

/** Show a failure that belongs to no file. */
function notice(problem) {
  const hint = make("p", { className: "muted" }, `What to do: ${problem.hint}`);
  byId("notice").replaceChildren(make("div", { className: "failure" }, make("p", {}, problem.message), hint));
}

function save(name, type, text) {
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  URL.revokeObjectURL(link.href);
}

function saveCsv() {
  const used = cards.filter((card) => entries.some((entry) => entry.card === card));
  const classes = [...new Set(used.flatMap((card) => card.classes))];
  save("genres.csv", "text/csv", toCsv(ended(), classes));
}

const ended = () => sorted().filter((entry) => entry.row || entry.problem);

// The server

function askForToken() {
  byId("login").hidden = false;
  byId("token").focus();
}

/** Ask the server for its models and limits; return whether it answered. */
async function connect() {
  try {
    const served = await models();
    limits = served.limits;
    cards = served.models;
    names = Object.assign({}, ...cards.map((model) => model.names));
    const [size, minutes] = [limits.max_bytes / 2 ** 20, limits.max_seconds / 60];
    byId("limits").textContent = `Up to ${size.toPrecision(3) / 1} MiB, ${minutes.toPrecision(3) / 1} minutes. Nothing is kept.`;
    byId("model").replaceChildren(...cards.map(({ name }) => make("option", { value: name }, name)));
    byId("model-choice").hidden = cards.length < 2;
    byId("login").hidden = true;
    byId("notice").replaceChildren();
    showTerms();
    return true;
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (problem.status === 401) askForToken();
    else notice(problem);
    return false;
  }
}

/** Say what the words mean, for the chosen model. */
function showTerms() {
  view.showTerms(byId("guide").querySelector("dl"), terms(cardOf({ model: byId("model").value })));
}

/** Try the token that was typed in, and repeat the requests that lacked it. */
async function logIn(event) {
  event.preventDefault();
  storeToken(byId("token").value);
  const accepted = await connect();
  byId("login-note").textContent = accepted ? "" : "That token is wrong. Ask the operator of this server for the right one.";
  if (!accepted) return;
  byId("choose").focus();
  entries.filter((entry) => entry.problem?.status === 401).forEach(retry);
}

// The microphone

let recorder = null;
let recordings = 0;

async function record() {
  const button = byId("record");
  try {
    if (recorder) {
      const ending = recorder;
      recorder = null;
      button.classList.remove("on");
      button.textContent = "Record";
      const audio = await ending.stop();
      add([new File([audio], `recording ${++recordings}.wav`, { type: audio.type })]);
      return;
    }
    const starting = new Recorder();
    await starting.start();
    recorder = starting;
    button.classList.add("on");
    announce("recording");
    tickRecording(performance.now());
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    notice(problem);
  }
}

function tickRecording(start) {
  if (!recorder) return;
  const seconds = (performance.now() - start) / 1000;
  byId("record").textContent = `Stop ${clock(Math.floor(seconds))}`;
  if (limits && seconds > limits.max_seconds - 1) record();
  else setTimeout(() => tickRecording(start), 250);
}

// Event listeners

const drop = byId("drop");
let over = 0;
window.addEventListener("dragenter", () => drop.classList.toggle("over", ++over > 0));
window.addEventListener("dragleave", () => drop.classList.toggle("over", --over > 0));
window.addEventListener("dragover", (event) => event.preventDefault());
window.addEventListener("drop", (event) => {
  event.preventDefault();
  over = 0;
  drop.classList.remove("over");
  add(event.dataTransfer.files);
});
byId("choose").addEventListener("click", () => byId("files").click());
byId("files").addEventListener("change", (event) => {
  add(event.target.files);
  event.target.value = "";
});
byId("example").addEventListener("click", addExample);
byId("record").addEventListener("click", record);
byId("model").addEventListener("change", showTerms);
byId("order").addEventListener("change", arrange);
byId("save-csv").addEventListener("click", saveCsv);
byId("save-json").addEventListener("click", () => save("genres.json", "application/json", toJson(ended())));
byId("login").addEventListener("submit", logIn);
if (!canRecord()) {
  byId("record").disabled = true;
  byId("record").title = "Recording needs https, or the address 127.0.0.1";
}
connect();
