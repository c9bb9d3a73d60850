// Tables that a reader can sort, search and filter. Their rows stand in the document, so that a page without
// JavaScript has the same table; text stays text. Needs charts.js before it, for make.

// More rows than these are put into the document when the reader comes near its end.
const ROWS_AT_ONCE = 200;
const ROWS_WORTH_SORTING = 3;
const ROWS_WORTH_SEARCHING = 40;

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
const plain = (text) => text.normalize("NFKC").toLowerCase();
const count = (number) => number.toLocaleString("en");

/** Return the first number of a cell, a length of time in seconds; null where there is none. */
export function cellNumber(text) {
  const clock = /^\s*(?:(\d+):)?(\d+):(\d\d)\s*$/.exec(text);
  if (clock) return 3600 * Number(clock[1] ?? 0) + 60 * Number(clock[2]) + Number(clock[3]);
  const number = /[+-]?\d+(?:\.\d+)?/.exec(text.replace("\u2212", "-"));
  return number ? Number(number[0]) : null;
}

/** A table in the document: which of its rows are shown, and in which order. */
export class SortableTable {
  /**
   * `filters` return whether a row is shown, `changed` is told how many are, of how many, and `enter` is given a row
   * when it is shown for the first time.
   */
  constructor(table, { filters = [], changed = () => {}, enter = () => {} } = {}) {
    Object.assign(this, { table, filters, changed, enter, column: null, falling: false, limit: ROWS_AT_ONCE, words: [] });
    this.body = table.tBodies[0];
    this.entries = [...this.body.rows].map((row) => ({ row, keys: [], text: null, below: null, entered: false }));
    this.more = make("button", { type: "button", className: "more" });
    const further = () => this.showUpTo(this.limit + ROWS_AT_ONCE);
    this.more.addEventListener("click", further);
    new IntersectionObserver(([one]) => one.isIntersecting && further(), { rootMargin: "1000px" }).observe(this.more);
    (table.closest(".scroll") ?? table).after(this.more);
    // Paper has no button for further rows.
    addEventListener("beforeprint", () => this.showUpTo(Infinity));
    if (this.entries.length >= ROWS_WORTH_SORTING) this.addSortButtons();
    this.refresh();
  }

  addSortButtons() {
    [...this.table.tHead.rows[0].cells].forEach((header, column) => {
      const button = make("button", { type: "button", className: "sort" }, ...header.childNodes);
      button.addEventListener("click", () => this.sortBy(column));
      header.append(button);
    });
  }

  /** Sort by a column, numbers from the highest and text from A; again, the other way round. */
  sortBy(column) {
    const headers = [...this.table.tHead.rows[0].cells];
    this.falling = column === this.column ? !this.falling : !this.isText(column);
    this.column = column;
    headers.forEach((header, i) => {
      if (i === column) header.setAttribute("aria-sort", this.falling ? "descending" : "ascending");
      else header.removeAttribute("aria-sort");
    });
    this.refresh();
  }

  isText(column) {
    return column === 0 || this.table.tHead.rows[0].cells[column].classList.contains("text");
  }

  keyOf(entry, column) {
    const cell = entry.row.cells[column];
    const number = () => cellNumber(cell.dataset.value ?? cell.textContent);
    return (entry.keys[column] ??= this.isText(column) ? cell.textContent.trim() : number());
  }

  /** Show the rows that contain every word of a text, in any place. */
  search(text) {
    this.words = plain(text).split(/\s+/).filter(Boolean);
    this.refresh();
  }

  refresh() {
    const matches = (entry) => {
      if (!this.filters.every((filter) => filter(entry.row))) return false;
      if (this.words.length) entry.text ??= plain(entry.row.textContent);
      return this.words.every((word) => entry.text.includes(word));
    };
    this.shown = this.entries.filter(matches);
    if (this.column !== null) {
      const [column, sign] = [this.column, this.falling ? -1 : 1];
      const compare = this.isText(column) ? collator.compare : (one, other) => one - other;
      this.shown.sort((one, other) => {
        const [a, b] = [this.keyOf(one, column), this.keyOf(other, column)];
        // Cells without a value come last in both orders.
        if (a === null || b === null || a === "" || b === "") return (a === null || a === "") - (b === null || b === "");
        return sign * compare(a, b);
      });
    }
    this.limit = ROWS_AT_ONCE;
    this.show();
  }

  show() {
    this.body.replaceChildren();
    this.append(0);
    this.changed(this.shown.length, this.entries.length);
  }

  showUpTo(limit) {
    const from = Math.min(this.limit, this.shown.length);
    this.limit = limit;
    this.append(from);
  }

  /** Put the rows into the document from a place on, up to the limit. */
  append(from) {
    const some = this.shown.slice(from, this.limit);
    for (const entry of some) {
      if (!entry.entered) this.enter(entry);
      entry.entered = true;
    }
    this.body.append(...some.flatMap(({ row, below }) => (below ? [row, below] : [row])));
    const left = Math.max(0, this.shown.length - this.limit);
    this.more.hidden = left === 0;
    this.more.textContent = `Show ${count(Math.min(left, ROWS_AT_ONCE))} more of ${count(left)}`;
  }
}

/** Make the tables of a page of sections sortable, and those with many rows searchable. */
export function startTables(page) {
  for (const table of page.querySelectorAll(".scroll > table")) {
    const rows = table.tBodies[0].rows.length;
    if (rows < ROWS_WORTH_SORTING) continue;
    if (rows < ROWS_WORTH_SEARCHING) {
      new SortableTable(table);
      continue;
    }
    const input = make("input", { type: "search", autocomplete: "off" });
    const status = make("p", { className: "status" });
    status.setAttribute("role", "status");
    const changed = (some, all) => (status.textContent = `${count(some)} of ${count(all)} rows`);
    const view = new SortableTable(table, { changed });
    input.addEventListener("input", () => view.search(input.value));
    const label = make("label", {}, `Search: ${table.caption?.textContent ?? "table"}`, input);
    table.closest(".scroll").before(make("div", { className: "filters" }, label), status);
  }
}
