// The view of one file: its answer or failure, its spectrogram, and a play head.

import * as charts from "./charts.js";
import { decode, spectrogram } from "./audio.js";

const COLUMNS = 900;
const BANDS = 96;
const KEY_STEP_SECONDS = 5;
// A quarter of an hour of stereo takes 230 MB when it is decoded.
const MAX_SPECTROGRAM_SECONDS = 900;
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
    this.audio.addEventListener("error", () => this.notPlayable());
    this.seekBar.addEventListener("keydown", (event) => this.onKey(event));
    this.seekBar.addEventListener("pointerdown", (event) => this.onPointer(event));
    this.seekBar.addEventListener("pointermove", (event) => event.buttons && this.onPointer(event));
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
    byId("possible").hidden = true;
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
    const shades = charts.colors(row.scores);
    const verdict = row.not_music
      ? ["not music", charts.make("span", { className: "share" }, charts.percent(1 - row.music))]
      : [row.answer && row.answer !== row.genre ? `${row.genre}: ${row.answer}` : row.genre, charts.make("span", { className: "share" }, charts.percent(row.score))];
    if (row.unsure && !row.not_music) {
      const title = "The score is below the threshold of this model";
      verdict.push(charts.make("span", { className: "flag", title }, "unsure"));
    }
    row.flags.forEach((flag) => verdict.push(charts.make("span", { className: "flag" }, flag)));
    byId("verdict").replaceChildren(...verdict);
    byId("possible").hidden = !(row.unsure && row.set.length);
    byId("possible").textContent = `It may be ${row.set.join(", ")}.`;
    // What is not music has scores as well, but they say nothing.
    ["course", "legend", "words", "now"].forEach((id) => byId(id).toggleAttribute("hidden", row.not_music));
    const tables = row.not_music ? [] : [charts.bars("Genres", row.scores, (name) => shades[name])];
    const styles = row.not_music ? {} : row.styles;
    if (Object.keys(styles).length) tables.push(charts.bars("Styles", styles, () => "var(--muted)"));
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

  /** Draw the spectrogram, computed once per file; there is none where the browser cannot decode the file. */
  async paint(entry) {
    const canvas = byId("spectrogram");
    if (entry.spectrogram === undefined) {
      canvas.hidden = true;
      entry.spectrogram = null;
      if (entry.row.seconds > MAX_SPECTROGRAM_SECONDS) return;
      entry.spectrogram = await decode(entry.audio)
        .then((samples) => spectrogram(samples, COLUMNS, BANDS))
        .catch(() => null);
    }
    if (entry !== this.entry) return;
    canvas.hidden = !entry.spectrogram;
    if (!entry.spectrogram) return;
    canvas.width = entry.spectrogram.width;
    canvas.height = entry.spectrogram.height;
    canvas.getContext("2d").putImageData(entry.spectrogram, 0, 0);
  }

  load(entry) {
    this.audio.pause();
    URL.revokeObjectURL(this.audio.src);
    byId("play").disabled = false;
    byId("picture-note").hidden = true;
    this.loadAudio(entry);
  }

  loadAudio(entry) {
    this.audio.src = URL.createObjectURL(entry.audio);
  }

  notPlayable() {
    byId("play").disabled = true;
    byId("picture-note").hidden = false;
    byId("picture-note").textContent = "This browser cannot play this file; the answer does not depend on it.";
  }

  toggle() {
    if (this.audio.paused) this.audio.play().catch(() => this.notPlayable());
    else this.audio.pause();
  }

  follow() {
    this.tick();
    if (!this.audio.paused) requestAnimationFrame(() => this.follow());
  }

  /** Update play head, clock and button to the position of the audio. */
  tick() {
    const row = this.entry?.row;
    if (!row) return;
    const now = Math.min(this.audio.currentTime, row.seconds);
    const piece = row.timeline.findLast((one) => one.start <= now) ?? row.timeline[0];
    const [name, share] = charts.leader(piece.scores);
    const current = `${name} ${charts.percent(share)}`;
    byId("head").style.left = `${(100 * now) / row.seconds}%`;
    byId("clock").textContent = `${charts.clock(now)} of ${charts.clock(row.seconds)}`;
    byId("now").textContent = current;
    byId("play").textContent = this.audio.paused ? "Play" : "Pause";
    byId("play").setAttribute("aria-label", this.audio.paused ? "Play" : "Pause");
    this.seekBar.setAttribute("aria-valuenow", now.toFixed(1));
    const shown = row.not_music ? "not music" : current;
    this.seekBar.setAttribute("aria-valuetext", `${byId("clock").textContent}, ${shown}`);
  }

  seek(seconds) {
    this.audio.currentTime = Math.max(0, Math.min(seconds, this.entry.row.seconds - 0.05));
    this.tick();
  }

  onPointer(event) {
    const box = this.seekBar.getBoundingClientRect();
    this.seekBar.setPointerCapture(event.pointerId);
    this.seek(((event.clientX - box.left) / box.width) * this.entry.row.seconds);
  }

  onKey(event) {
    const [now, all] = [this.audio.currentTime, this.entry.row.seconds];
    const targets = {
      ArrowLeft: now - KEY_STEP_SECONDS,
      ArrowDown: now - KEY_STEP_SECONDS,
      ArrowRight: now + KEY_STEP_SECONDS,
      ArrowUp: now + KEY_STEP_SECONDS,
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
