// The view of one file: its answer or failure, its spectrogram, and a play head.

import * as charts from "./charts.js";
import { decode, spectrogram } from "./audio.js";
import { courseLines, courseNote, flagTexts, reason, summary, terms } from "./words.js";

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
    const { row, problem, tags } = entry;
    byId("title").textContent = tags?.title || entry.name;
    byId("artist").textContent = [tags?.artist, tags?.album].filter(Boolean).join(" · ");
    byId("facts").textContent = facts(entry);
    byId("failure").hidden = !problem;
    byId("answer").hidden = !row;
    byId("working").hidden = Boolean(row || problem);
    byId("working-note").textContent = entry.state === "waiting" ? "Waiting" : `${entry.state[0].toUpperCase()}${entry.state.slice(1)}`;
    byId("credit").hidden = !(entry.isExample && row);
    byId("credit").textContent =
      "The example is an excerpt of “Ambient” by Nikola Whallon, from the music of the game Naev: CC BY 3.0," +
      " creativecommons.org/licenses/by/3.0.";
    document.title = row ? `${summary(row)} · genrescope` : "genrescope";
    this.showCover(entry);
    if (problem) this.showProblem(problem);
    if (row) this.showRow(row, entry);
  }

  /** Draw the cover of the tags, which the browser decodes, if it can; it is drawn, so that no address leads to it. */
  async showCover(entry) {
    const canvas = byId("cover");
    if (entry.cover && entry.bitmap === undefined) {
      canvas.hidden = true;
      entry.bitmap = null;
      entry.bitmap = await square(entry.cover, canvas.width).catch(() => null);
    }
    if (entry !== this.entry) return;
    canvas.hidden = !entry.bitmap;
    if (entry.bitmap) canvas.getContext("2d").drawImage(entry.bitmap, 0, 0, canvas.width, canvas.height);
  }

  showProblem(problem) {
    const again = charts.make("button", { type: "button", onclick: () => this.onRetry(this.entry) }, "Try again");
    byId("failure").replaceChildren(
      charts.make("p", { className: "what" }, problem.message),
      charts.make("p", {}, `What to do: ${problem.hint}`),
      charts.make("div", { className: "row" }, again, charts.make("code", {}, problem.code)),
    );
  }

  showRow(row, entry) {
    const shades = charts.colors(row.scores);
    this.shades = shades;
    this.showVerdict(row, entry, shades);
    // What is not music has scores as well, but they say nothing.
    ["course", "words", "now", "course-note"].forEach((id) => byId(id).toggleAttribute("hidden", row.not_music));
    byId("stage").classList.toggle("without-course", row.not_music);
    byId("answers").replaceChildren(...(row.not_music ? [] : tables(row, shades)));
    charts.drawAreas(byId("course"), row.timeline, charts.stack(row.timeline), row.seconds, shades);
    charts.drawAxis(byId("axis"), row.seconds);
    const lines = courseLines(row);
    byId("course").setAttribute("aria-label", `Genres over time: ${lines.join("; ")}`);
    byId("words").querySelector("ul").replaceChildren(...lines.map((line) => charts.make("li", {}, line)));
    const note = row.not_music ? "" : courseNote(row);
    byId("course-note").hidden = !note;
    byId("course-note").textContent = note;
    this.seekBar.setAttribute("aria-valuemax", row.seconds.toFixed(1));
    this.tick();
    this.paint(entry);
  }

  /** Say what the answer is, why it is unsure, and what the words mean. */
  showVerdict(row, entry, shades) {
    const [name, share] = row.not_music ? ["not music", 1 - row.music] : [row.genre, row.score];
    const parts = [charts.make("span", {}, name), " ", charts.make("span", { className: "share" }, charts.percent(share))];
    if (!row.not_music) {
      const swatch = charts.make("i", { className: "swatch" });
      swatch.style.background = shades[row.genre];
      parts.unshift(swatch);
    }
    if (row.unsure && !row.not_music) parts.push(" ", charts.make("span", { className: "flag" }, "unsure"));
    byId("verdict").replaceChildren(...parts);
    const style = row.not_music || row.answer === row.genre ? null : row.answer;
    const texts = {
      style: style ? `Style: ${style}` : "",
      reason: reason(row, entry.card),
      possible: row.unsure && row.set.length ? `It may be ${row.set.join(", ")}.` : "",
    };
    for (const [id, text] of Object.entries(texts)) {
      byId(id).hidden = !text;
      byId(id).textContent = text;
    }
    byId("flags").hidden = !row.flags.length;
    byId("flags").replaceChildren(...flagTexts(row).map((text) => charts.make("li", {}, text)));
    this.showTerms(byId("meaning").querySelector("dl"), terms(entry.card));
  }

  /** Fill a list of definitions. */
  showTerms(list, pairs) {
    const items = pairs.map(([term, text]) => charts.make("div", {}, charts.make("dt", {}, term), charts.make("dd", {}, text)));
    list.replaceChildren(...items);
  }

  /** Draw the spectrogram, computed once per file; there is none where the browser cannot decode the file. */
  async paint(entry) {
    const canvas = byId("spectrogram");
    const isLong = entry.row.seconds > MAX_SPECTROGRAM_SECONDS;
    byId("stage").classList.toggle("without-spectrogram", isLong || entry.spectrogram === null);
    if (isLong) return;
    if (entry.spectrogram === undefined) {
      // Its place is kept while it is computed.
      canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
      entry.painting ??= decode(entry.audio)
        .then((samples) => spectrogram(samples, COLUMNS, BANDS))
        .catch(() => null);
      entry.spectrogram = await entry.painting;
    }
    if (entry !== this.entry) return;
    byId("stage").classList.toggle("without-spectrogram", !entry.spectrogram);
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
    const swatch = charts.make("i", { className: "swatch" });
    swatch.style.background = this.shades[name];
    byId("head").style.left = `${(100 * now) / row.seconds}%`;
    byId("clock").textContent = `${charts.clock(now)} of ${charts.clock(row.seconds)}`;
    byId("now").replaceChildren(swatch, current);
    const action = this.audio.paused ? "Play" : "Pause";
    byId("play").querySelector("span").textContent = action;
    byId("play").setAttribute("aria-label", action);
    byId("play").classList.toggle("playing", !this.audio.paused);
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
  const parts = entry.row ? [charts.clock(entry.row.seconds), entry.row.model.split("@")[0]] : [];
  if (entry.tags?.title) parts.push(entry.name);
  if (entry.converted && entry.row) parts.push("decoded by your browser, since the server does not know the format");
  return parts.join(" · ");
}

/** Return the scores of genres and styles as tables of bars. */
function tables(row, shades) {
  const found = [charts.bars("Genres, on average over the track", row.scores, (name) => shades[name])];
  found[0].classList.add("genres");
  if (Object.keys(row.styles).length) found.push(charts.bars("Styles, each scored by itself", row.styles, () => "var(--muted)"));
  return found;
}

/** Return the middle of a picture as a square of `side` pixels. */
async function square(file, side) {
  const whole = await createImageBitmap(file);
  const length = Math.min(whole.width, whole.height);
  const [left, top] = [(whole.width - length) / 2, (whole.height - length) / 2].map(Math.floor);
  const middle = await createImageBitmap(whole, left, top, length, length, { resizeWidth: side, resizeHeight: side, resizeQuality: "high" });
  whole.close();
  return middle;
}
