// The page: takes files, sends them to the server one after the other, and lists the answers.

import { Problem, classify, models, storeToken } from "./api.js";
import { clock, make, percent } from "./charts.js";
import { Recorder, canRecord } from "./recorder.js";
import { decode, wav } from "./audio.js";
import { View } from "./view.js";

const MAX_ATTEMPTS = 20;
const byId = (id) => document.getElementById(id);
const entries = [];
const view = new View({ onRetry: retry });
let limits = null;
let names = {};
let shown = null;
let running = false;

// Adding files

function add(files) {
  const added = [...files].map((file) => ({ file, audio: file, name: file.name, state: "waiting" }));
  if (!added.length) return;
  entries.push(...added);
  byId("notice").replaceChildren();
  byId("work").hidden = false;
  byId("drop").classList.add("compact");
  byId("work").classList.toggle("many", entries.length > 1);
  if (!shown || shown.row || shown.problem) select(added[0]);
  draw();
  run();
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

/** Return an answer with the names of genres and styles that people read in place of labels. */
function readable(answer) {
  const name = (label) => names[label] ?? label;
  const renamed = (scores) => Object.fromEntries(Object.entries(scores).map(([label, score]) => [name(label), score]));
  return {
    ...answer,
    genre: name(answer.genre),
    answer: answer.answer && name(answer.answer),
    set: answer.set.map(name),
    scores: renamed(answer.scores),
    styles: renamed(answer.styles),
    timeline: answer.timeline.map((segment) => ({ ...segment, scores: renamed(segment.scores) })),
  };
}

/** The result in a few words. */
function summary(row) {
  if (row.not_music) return `not music ${percent(1 - row.music)}`;
  return `${row.genre} ${percent(row.score)}${row.unsure ? ", unsure" : ""}`;
}

/** Classify one file and show its answer or failure. */
async function analyze(entry) {
  update(entry, { state: "analyzing", problem: null });
  try {
    const answer = await sendWithRetries(entry);
    const row = readable(answer);
    update(entry, { state: "done", answer, row });
    announce(`${entry.name}: ${summary(row)}`);
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
  return classify(entry.audio, entry.name, byId("model").value);
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

// Display

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

function draw() {
  byId("save").hidden = !entries.some((entry) => entry.row);
  entries.forEach((entry) => {
    entry.button ??= listButton(entry);
    entry.button.lastChild.textContent = entry.row ? summary(entry.row) : entry.state;
    entry.button.className = entry.state === "failed" ? "failed" : "";
    entry.button.setAttribute("aria-current", String(entry === shown));
  });
}

function listButton(entry) {
  const button = make("button", { type: "button", onclick: () => select(entry) });
  button.append(make("span", { className: "name" }, entry.name), make("span", { className: "state" }));
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

function save() {
  const lines = entries.filter((entry) => entry.answer).map((entry) => `${JSON.stringify(entry.answer)}\n`);
  const link = make("a", { href: URL.createObjectURL(new Blob(lines)), download: "genres.jsonl" });
  link.click();
  URL.revokeObjectURL(link.href);
}

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
    names = Object.assign({}, ...served.models.map((model) => model.names));
    const [size, minutes] = [limits.max_bytes / 2 ** 20, limits.max_seconds / 60];
    byId("limits").textContent = `Up to ${size.toPrecision(3) / 1} MiB, ${minutes.toPrecision(3) / 1} minutes. Nothing is kept.`;
    byId("model").replaceChildren(...served.models.map(({ name }) => make("option", { value: name }, name)));
    byId("model-choice").hidden = served.models.length < 2;
    byId("login").hidden = true;
    byId("notice").replaceChildren();
    return true;
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (problem.status === 401) askForToken();
    else notice(problem);
    return false;
  }
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
byId("record").addEventListener("click", record);
byId("save").addEventListener("click", save);
byId("login").addEventListener("submit", logIn);
if (!canRecord()) {
  byId("record").disabled = true;
  byId("record").title = "Recording needs https, or the address 127.0.0.1";
}
connect();
