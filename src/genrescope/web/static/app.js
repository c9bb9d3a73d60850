// The page: files come in, go to the server one by one, and stand in a list.

import { Problem, classify, models, remember } from "./api.js";
import { clock, make, percent } from "./charts.js";
import { Recorder, canRecord } from "./recorder.js";
import { decode, wav } from "./sound.js";
import { View } from "./view.js";

const MOST_TRIES = 20;
const byId = (id) => document.getElementById(id);
const entries = [];
const view = new View({ onRetry: retry });
let limits = null;
let shown = null;
let running = false;

// Adding

function add(files) {
  const fresh = [...files].map((file) => ({ file, sound: file, name: file.name, state: "waiting" }));
  if (!fresh.length) return;
  entries.push(...fresh);
  byId("notice").replaceChildren();
  byId("work").hidden = false;
  byId("drop").classList.add("compact");
  byId("work").classList.toggle("many", entries.length > 1);
  if (!shown || shown.row || shown.problem) select(fresh[0]);
  draw();
  run();
}

async function run() {
  if (running) return;
  running = true;
  try {
    let entry;
    while ((entry = entries.find((one) => one.state === "waiting"))) await work(entry);
  } finally {
    running = false;
  }
}

async function work(entry) {
  change(entry, { state: "listening", problem: null });
  try {
    const row = await answer(entry);
    change(entry, { state: "done", row });
    say(`${entry.name}: ${row.genre}, ${percent(row.score)}${row.unsure ? ", unsure" : ""}`);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (problem.status === 401) askForToken();
    change(entry, { state: "failed", problem });
    say(`${entry.name}: failed. ${problem.message} ${problem.hint}`);
  }
}

async function answer(entry) {
  for (let tries = 1; ; tries++) {
    try {
      return await send(entry);
    } catch (problem) {
      if (problem.code === "audio_unreadable" && !entry.converted && (await convert(entry))) continue;
      if (!problem.wait || tries >= MOST_TRIES) throw problem;
      change(entry, { state: `the server is busy, again in ${problem.wait} s` });
      await new Promise((resolve) => setTimeout(resolve, 1000 * problem.wait));
    }
  }
}

function send(entry) {
  if (limits && entry.sound.size > limits.max_bytes) {
    const size = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
    throw new Problem({
      code: "upload_too_large",
      detail: `${entry.name} has ${size(entry.sound.size)}; this server takes ${size(limits.max_bytes)}.`,
      hint: "Choose a shorter piece, or a compressed format such as mp3, ogg or flac.",
    });
  }
  return classify(entry.sound, entry.name, byId("model").value);
}

/** Decode in the browser what the server could not, to be sent as WAV; say whether that went well. */
async function convert(entry) {
  try {
    entry.sound = wav(await decode(entry.file));
  } catch {
    return false;
  }
  entry.converted = true;
  if (entry === shown) view.loadSound(entry);
  return true;
}

function retry(entry) {
  change(entry, { state: "waiting", problem: null });
  byId("detail").focus();
  run();
}

// Showing

function change(entry, news) {
  Object.assign(entry, news);
  draw();
  if (entry === shown) view.show(entry);
}

function select(entry) {
  shown = entry;
  view.show(entry);
  draw();
}

function draw() {
  byId("save").hidden = !entries.some((entry) => entry.row);
  entries.forEach((entry) => {
    entry.button ??= listed(entry);
    entry.button.lastChild.textContent = entry.row ? `${entry.row.genre} ${percent(entry.row.score)}` : entry.state;
    if (entry.row?.unsure) entry.button.lastChild.textContent += ", unsure";
    entry.button.className = entry.state === "failed" ? "failed" : "";
    entry.button.setAttribute("aria-current", String(entry === shown));
  });
}

function listed(entry) {
  const button = make("button", { type: "button", onclick: () => select(entry) });
  button.append(make("span", { className: "name" }, entry.name), make("span", { className: "state" }));
  byId("list").append(make("li", {}, button));
  return button;
}

function say(text) {
  byId("say").textContent = text;
}

function notice(problem) {
  const hint = make("p", { className: "muted" }, `What to do: ${problem.hint}`);
  byId("notice").replaceChildren(make("div", { className: "failure" }, make("p", {}, problem.message), hint));
}

function save() {
  const lines = entries.filter((entry) => entry.row).map((entry) => `${JSON.stringify(entry.row)}\n`);
  const link = make("a", { href: URL.createObjectURL(new Blob(lines)), download: "genres.jsonl" });
  link.click();
  URL.revokeObjectURL(link.href);
}

// The server

function askForToken() {
  byId("door").hidden = false;
  byId("token").focus();
}

async function greet() {
  try {
    const offer = await models();
    limits = offer.limits;
    const [size, minutes] = [limits.max_bytes / 2 ** 20, limits.max_seconds / 60];
    byId("limits").textContent = `Up to ${size.toPrecision(3) / 1} MiB, ${minutes.toPrecision(3) / 1} minutes. Nothing is kept.`;
    byId("model").replaceChildren(...offer.models.map(({ name }) => make("option", { value: name }, name)));
    byId("model-choice").hidden = offer.models.length < 2;
    byId("door").hidden = true;
    byId("notice").replaceChildren();
    return true;
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (problem.status === 401) askForToken();
    else notice(problem);
    return false;
  }
}

async function enter(event) {
  event.preventDefault();
  remember(byId("token").value);
  const known = await greet();
  byId("door-note").textContent = known ? "" : "That is not it. Ask whoever runs this server for the token.";
  if (!known) return;
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
      const sound = await ending.stop();
      add([new File([sound], `recording ${++recordings}.wav`, { type: sound.type })]);
      return;
    }
    const starting = new Recorder();
    await starting.start();
    recorder = starting;
    button.classList.add("on");
    say("recording");
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

// Doors

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
byId("record").addEventListener("click", record);
byId("save").addEventListener("click", save);
byId("door").addEventListener("submit", enter);
if (!canRecord()) {
  byId("record").disabled = true;
  byId("record").title = "The microphone needs https, or the address 127.0.0.1";
}
greet();
