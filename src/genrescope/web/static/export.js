// Answers as files: CSV with the columns of `genrescope classify --format csv`, and JSON with its rows.

const TAGS = ["title", "artist", "album"];

/** Return rows as JSON: answers, and errors as the command line prints them. */
export function toJson(entries) {
  return `${JSON.stringify(entries.map(row), null, 1)}\n`;
}

/** Return rows as CSV, with one column for each of the genres. */
export function toCsv(entries, classes) {
  const header = ["path", "genre", "score", "unsure", ...classes, "styles", "seconds", "model", "flags"];
  header.push("error", "message", "hint", "music", "not_music", "set", "answer", ...TAGS);
  const lines = entries.map((entry) => (entry.answer ? answerCells(entry, classes) : failureCells(entry, classes)));
  return [header, ...lines].map((cells) => `${cells.map(cell).join(",")}\n`).join("");
}

function row({ answer, tags, name, problem }) {
  if (!answer) return { path: name, error: { code: problem.code, message: problem.message, hint: problem.hint } };
  return { ...answer, tags: Object.fromEntries(TAGS.map((key) => [key, tags[key]])) };
}

function answerCells({ answer, tags }, classes) {
  const styles = Object.entries(answer.styles).map(([name, share]) => `${name} ${share.toFixed(2)}`);
  return [
    answer.path,
    answer.genre,
    answer.score,
    Number(answer.unsure),
    ...classes.map((name) => answer.scores[name]),
    styles.join("; "),
    answer.seconds,
    answer.model,
    answer.flags.join(" "),
    ...["", "", ""],
    answer.music,
    Number(answer.not_music),
    answer.set.join("; "),
    answer.answer,
    ...TAGS.map((key) => tags[key]),
  ];
}

function failureCells({ name, problem }, classes) {
  const blanks = new Array(classes.length + 7).fill("");
  return [name, ...blanks, problem.code, problem.message, problem.hint, ...new Array(4 + TAGS.length).fill("")];
}

/** Return a cell that no spreadsheet takes for a formula: names of files and tags come from strangers. */
function cell(value) {
  if (typeof value === "number") return String(value);
  let text = String(value ?? "").replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, escaped);
  if (/^[=+\-@]/.test(text.trimStart().normalize("NFKC"))) text = `'${text}`;
  return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function escaped(letter) {
  return { "\t": "\\t", "\n": "\\n", "\r": "\\r" }[letter] ?? `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
