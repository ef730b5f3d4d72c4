"use strict";
/* The table of a job: rows are sorted by a click on the head of a column, and found by text and state. */
(() => {
  const table = document.getElementById("images");
  const body = table.tBodies[0];
  const heads = Array.from(table.tHead.rows[0].cells);
  const find = document.getElementById("find"), state = document.getElementById("state");
  const order = new Intl.Collator(undefined, {numeric: true, sensitivity: "base"});

  function key(row, column, kind) {
    const cell = row.cells[column];
    if (kind === "text") return cell.textContent.trim();
    const value = cell.dataset.value;
    return value === "" ? NaN : Number(value);
  }

  /* Rows without a value stay at the end in both directions; equal ones keep their order. */
  function compare(a, b, kind) {
    const missing = (value) => value === "" || Number.isNaN(value);
    if (missing(a) || missing(b)) return {ends: Number(missing(a)) - Number(missing(b))};
    return {middle: kind === "text" ? order.compare(a, b) : a - b};
  }

  function sortBy(column) {
    const head = heads[column], kind = head.dataset.sort;
    const descending = head.getAttribute("aria-sort") === "ascending";
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const rows = Array.from(body.rows, (row) => ({row, value: key(row, column, kind)}));
    rows.sort((one, other) => {
      const {ends, middle} = compare(one.value, other.value, kind);
      return ends ?? (descending ? -middle : middle);
    });
    body.append(...rows.map(({row}) => row));
  }

  function filter() {
    const words = find.value.trim().toLowerCase();
    let count = 0;
    for (const row of body.rows) {
      const isFound = (!state.value || row.dataset.state === state.value)
        && row.textContent.toLowerCase().includes(words);
      row.hidden = !isFound;
      count += isFound;
    }
    document.getElementById("found").textContent = `${count} of ${body.rows.length} shown`;
  }

  heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => sortBy(column)));
  find.addEventListener("input", filter);
  state.addEventListener("change", filter);
  filter();
})();
