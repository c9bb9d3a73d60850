// What the page says about an answer: its genre, why it is unsure, what the words mean, the course over time as text.

import { clock, leader, percent } from "./charts.js";

const MOST_SPANS = 40;
const FLAGS = {
  excerpts: "Some segments of this long track were classified, not all.",
  truncated: "The file ends before its header says, or a part of it is damaged; what is there was used.",
  header_mismatch: "The file holds more sound than its header says; all of it was used.",
  spikes_removed: "Single samples of an impossible level were set to zero.",
  channels_cancel: "The channels cancel each other when they are mixed; not all of them were used.",
};
const NOT_MUSIC = "The model takes it for speech, noise, tones or effects; the percentage is the probability of that.";

/** Return an answer with the names of genres and styles that people read in place of labels. */
export function readable(answer, names) {
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
export function summary(row) {
  if (row.not_music) return `not music ${percent(1 - row.music)}`;
  return `${row.genre} ${percent(row.score)}${row.unsure ? ", unsure" : ""}`;
}

/** Why there is no sure answer; empty where there is one. */
export function reason(row, model) {
  if (row.not_music) return "This sounds like speech, noise, tones or effects, so it gets no genre.";
  if (!row.unsure) return "";
  if (model?.task === "multi-label") return "No genre reaches the score from which on it counts.";
  const limit = model?.threshold == null ? "a score" : percent(model.threshold);
  return `No genre reaches ${limit}, which this model needs to be sure.`;
}

export const flagTexts = (row) => row.flags.map((flag) => FLAGS[flag] ?? flag);

/** What the page's words mean, for a model, as pairs of term and text. */
export function terms(model) {
  const shared = `the ${model?.classes.length ?? ""} genres that the model knows share 100 %`;
  const score =
    `The score of a genre: ${model?.task === "multi-label" ? "each has one of its own, up to 100 %" : shared}.` +
    ` It is the average over the track; the course shows it for every ${model?.segment_seconds ?? ""} seconds.` +
    " A style has a percentage of its own.";
  const limit = model?.threshold == null ? "the score from which on it counts" : percent(model.threshold);
  const unsure = `No genre reaches ${limit}. The first one is then often wrong, so the page also names what it may be.`;
  return [
    ["%", score],
    ["unsure", unsure],
    ["not music", NOT_MUSIC],
  ];
}

/**
 * Return the runs of segments that one genre leads, with mean scores. Where segments overlap, a run ends where the next
 * begins; the means are of whole segments, as that of the track is.
 */
function spans({ timeline, scores }) {
  const found = [];
  timeline.forEach((piece, i) => {
    const end = timeline[i + 1]?.start ?? piece.end;
    const [name] = leader(piece.scores);
    if (found.at(-1)?.name !== name) found.push({ name, start: piece.start, end, sums: {}, weight: 0 });
    const span = found.at(-1);
    span.end = end;
    const weight = piece.end - piece.start;
    span.weight += weight;
    for (const [genre, score] of Object.entries(piece.scores)) {
      span.sums[genre] = (span.sums[genre] ?? 0) + score * weight;
    }
  });
  // The mean of the track also leaves out what is not music: the only run has that one.
  if (found.length === 1) return [{ ...found[0], scores }];
  return found.map(({ sums, weight, ...span }) => {
    const means = Object.entries(sums).map(([genre, sum]) => [genre, sum / weight]);
    return { ...span, scores: Object.fromEntries(means) };
  });
}

/** Say which genre leads from when to when, and how high the genre of the whole track is where it does not lead. */
export function courseLines(row) {
  const lines = spans(row).map(({ name, start, end, scores }) => {
    const other = name === row.genre ? "" : `, ${row.genre} ${percent(scores[row.genre])}`;
    return `${clock(start)} to ${clock(end)}: ${name} ${percent(scores[name])}${other}`;
  });
  const more = lines.length - MOST_SPANS;
  return more > 0 ? [...lines.slice(0, MOST_SPANS), `and ${more} more`] : lines;
}

/** Explain an answer that another genre leads for longer; empty where none does. */
export function courseNote(row) {
  const seconds = {};
  spans(row).forEach(({ name, start, end }) => (seconds[name] = (seconds[name] ?? 0) + end - start));
  const [longest, led] = leader(seconds);
  if (longest === row.genre || led <= (seconds[row.genre] ?? 0)) return "";
  const own = seconds[row.genre]
    ? `${row.genre} is so strong where it leads, for ${clock(seconds[row.genre])},`
    : `${row.genre} comes so close throughout`;
  return `${longest} leads for longer, ${clock(led)} of ${clock(row.seconds)}, but ${own} that its mean is the highest.`;
}
