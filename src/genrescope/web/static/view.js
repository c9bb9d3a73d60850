// One file, shown: its answer or failure, its sound as a picture, and a play head that moves.

import * as charts from "./charts.js";
import { decode, spectrogram } from "./sound.js";

const COLUMNS = 900;
const BANDS = 96;
const SMALL_STEP = 5;
// Decoded, a quarter of an hour of stereo takes 230 MB.
const LONGEST_PICTURE = 900;
const byId = (id) => document.getElementById(id);

export class View {
  constructor({ onRetry }) {
    this.entry = null;
    this.onRetry = onRetry;
    this.audio = byId("audio");
    this.seekBar = byId("seek");
    byId("play").addEventListener("click", () => this.toggle());
    this.audio.addEventListener("play", () => this.follow());
    ["pause", "ended", "seeked", "timeupdate"].forEach((event) => {
      this.audio.addEventListener(event, () => this.tick());
    });
    this.audio.addEventListener("error", () => this.silent());
    this.seekBar.addEventListener("keydown", (event) => this.key(event));
    this.seekBar.addEventListener("pointerdown", (event) => this.point(event));
    this.seekBar.addEventListener("pointermove", (event) => event.buttons && this.point(event));
  }

  /** Show an entry; called again when its state changes. */
  show(entry) {
    if (entry !== this.entry) this.load(entry);
    this.entry = entry;
    const { row, problem } = entry;
    byId("title").textContent = entry.name;
    byId("facts").textContent = facts(entry);
    byId("failure").hidden = !problem;
    byId("verdict").hidden = byId("stage").hidden = !row;
    byId("answers").replaceChildren();
    if (problem) this.showProblem(problem);
    if (row) this.showRow(row, entry);
  }

  showProblem(problem) {
    const again = charts.make("button", { type: "button", onclick: () => this.onRetry(this.entry) }, "Try again");
    byId("failure").replaceChildren(
      charts.make("p", {}, problem.message),
      charts.make("p", { className: "muted" }, `What to do: ${problem.hint}`),
      charts.make("p", { className: "small" }, charts.make("code", {}, problem.code)),
      again,
    );
  }

  showRow(row, entry) {
    const shades = charts.colors(Object.keys(row.scores));
    const verdict = [row.genre, charts.make("span", { className: "share" }, charts.percent(row.score))];
    if (row.unsure) {
      const title = "The score is too low for the answer to be relied on";
      verdict.push(charts.make("span", { className: "flag", title }, "unsure"));
    }
    row.flags.forEach((flag) => verdict.push(charts.make("span", { className: "flag" }, flag)));
    byId("verdict").replaceChildren(...verdict);
    const tables = [charts.bars("Genres", row.scores, (name) => shades[name])];
    if (Object.keys(row.styles).length) tables.push(charts.bars("Styles", row.styles, () => "var(--muted)"));
    byId("answers").replaceChildren(...tables);
    const layers = charts.stack(row.timeline);
    charts.drawAreas(byId("course"), row.timeline, layers, row.seconds, shades);
    charts.drawAxis(byId("axis"), row.seconds);
    charts.drawLegend(byId("legend"), layers, shades);
    const lines = charts.spans(row.timeline);
    byId("course").setAttribute("aria-label", `Genres over time: ${lines.join("; ")}`);
    byId("words").querySelector("ul").replaceChildren(...lines.map((line) => charts.make("li", {}, line)));
    this.seekBar.setAttribute("aria-valuemax", row.seconds.toFixed(1));
    this.tick();
    this.paint(entry);
  }

  /** Draw the spectrogram, once per file; the page stays usable where the browser cannot decode it. */
  async paint(entry) {
    const canvas = byId("spectrogram");
    if (entry.picture === undefined) {
      canvas.hidden = true;
      entry.picture = null;
      if (entry.row.seconds > LONGEST_PICTURE) return;
      entry.picture = await decode(entry.sound)
        .then((samples) => spectrogram(samples, COLUMNS, BANDS))
        .catch(() => null);
    }
    if (entry !== this.entry) return;
    canvas.hidden = !entry.picture;
    if (!entry.picture) return;
    canvas.width = entry.picture.width;
    canvas.height = entry.picture.height;
    canvas.getContext("2d").putImageData(entry.picture, 0, 0);
  }

  load(entry) {
    this.audio.pause();
    URL.revokeObjectURL(this.audio.src);
    byId("play").disabled = false;
    byId("picture-note").hidden = true;
    this.loadSound(entry);
  }

  loadSound(entry) {
    this.audio.src = URL.createObjectURL(entry.sound);
  }

  silent() {
    byId("play").disabled = true;
    byId("picture-note").hidden = false;
    byId("picture-note").textContent = "This browser cannot play this file; the answer does not depend on it.";
  }

  toggle() {
    if (this.audio.paused) this.audio.play().catch(() => this.silent());
    else this.audio.pause();
  }

  follow() {
    this.tick();
    if (!this.audio.paused) requestAnimationFrame(() => this.follow());
  }

  /** Bring play head, clock and button in line with the sound. */
  tick() {
    const row = this.entry?.row;
    if (!row) return;
    const now = Math.min(this.audio.currentTime, row.seconds);
    const piece = row.timeline.findLast((one) => one.start <= now) ?? row.timeline[0];
    const [name, share] = charts.leader(piece.scores);
    const leading = `${name} ${charts.percent(share)}`;
    byId("head").style.left = `${(100 * now) / row.seconds}%`;
    byId("clock").textContent = `${charts.clock(now)} of ${charts.clock(row.seconds)}`;
    byId("now").textContent = leading;
    byId("play").textContent = this.audio.paused ? "Play" : "Pause";
    byId("play").setAttribute("aria-label", this.audio.paused ? "Play" : "Pause");
    this.seekBar.setAttribute("aria-valuenow", now.toFixed(1));
    this.seekBar.setAttribute("aria-valuetext", `${byId("clock").textContent}, ${leading}`);
  }

  seek(seconds) {
    this.audio.currentTime = Math.max(0, Math.min(seconds, this.entry.row.seconds - 0.05));
    this.tick();
  }

  point(event) {
    const box = this.seekBar.getBoundingClientRect();
    this.seekBar.setPointerCapture(event.pointerId);
    this.seek(((event.clientX - box.left) / box.width) * this.entry.row.seconds);
  }

  key(event) {
    const [now, all] = [this.audio.currentTime, this.entry.row.seconds];
    const targets = {
      ArrowLeft: now - SMALL_STEP,
      ArrowDown: now - SMALL_STEP,
      ArrowRight: now + SMALL_STEP,
      ArrowUp: now + SMALL_STEP,
      PageDown: now - all / 10,
      PageUp: now + all / 10,
      Home: 0,
      End: all,
    };
    if (event.key === " ") this.toggle();
    else if (event.key in targets) this.seek(targets[event.key]);
    else return;
    event.preventDefault();
  }
}

function facts(entry) {
  if (!entry.row) return entry.problem ? "" : entry.state;
  const parts = [charts.clock(entry.row.seconds), entry.row.model];
  if (entry.converted) parts.push("decoded by your browser, since the server does not know the format");
  return parts.join(" · ");
}
