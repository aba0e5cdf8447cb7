"use strict";
// Comfort only: what is in the page is readable without it.

/** Rows of a table kept as data that are shown at once. */
const SHOWN = 500;
const MINUS = /\u2212/g;

/** An element with text and attributes. */
function element(name, text, attributes = {}) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(text);
  return made;
}

/** What a cell sorts by: text, or the first number in it; none where a number is not defined. */
function key(text, numeric) {
  if (!numeric) return text;
  const number = parseFloat(text.replace(MINUS, "-").replace(/^[^\d-]+/, ""));
  return Number.isFinite(number) ? number : null;
}

/** Ascending or descending; what is not defined stands last in both. */
function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  return sign * (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
}

/** Makes a table sort and filter. A row is its cells' texts and how to get its element. */
function sortable(table, rows, most) {
  const heads = [...table.tHead.rows[0].cells];
  const box = element("input", "", { type: "search", className: "filter", placeholder: "Filter rows: words in any column" });
  box.setAttribute("aria-label", "Filter rows");
  const rest = element("p", "", { className: "rest", hidden: true });
  table.parentNode.before(box);
  table.parentNode.after(rest);

  function show() {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = rows.filter((row) => {
      const text = row.cells.join(" ").toLowerCase();
      return words.every((word) => text.includes(word));
    });
    table.tBodies[0].replaceChildren(...found.slice(0, most).map((row) => row.element()));
    rest.hidden = found.length <= most;
    if (rest.hidden) return;
    const all = element("button", "Show all", { type: "button", onclick: () => { most = Infinity; show(); } });
    rest.replaceChildren(`The first ${most} of ${found.length} rows. `, all);
  }

  heads.forEach((head, column) => {
    const button = element("button", "", { type: "button" });
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const keys = new Map(rows.map((row) => [row, key(row.keys[column], head.classList.contains("n"))]));
      rows.sort((a, b) => compare(keys.get(a), keys.get(b), up ? 1 : -1));
      show();
    });
  });
  box.addEventListener("input", show);
  return show;
}

/** The rows of a table that is written out. */
function written(table) {
  return [...table.tBodies[0].rows].map((row) => {
    const cells = [...row.cells];
    return {
      cells: cells.map((cell) => cell.textContent),
      keys: cells.map((cell) => cell.dataset.v ?? cell.textContent),
      element: () => row,
    };
  });
}

/** The rows of a table kept as data: numbers of words by column, nothing where a row repeats the one above. */
function unpacked(table, { words, rows }) {
  const numeric = [...table.tHead.rows[0].cells].map((head) => head.classList.contains("n"));
  let last = numeric.map(() => "");
  return rows.split(";").map((line) => {
    const own = line.split(",");
    const cells = last.map((above, column) => (own[column] ? words[parseInt(own[column], 36)] : above));
    last = cells;
    let made = null;
    const make = () => {
      const row = document.createElement("tr");
      row.append(...cells.map((cell, column) => element("td", cell, { className: numeric[column] ? "n" : "" })));
      return row;
    };
    return { cells, keys: cells, element: () => (made ??= make()) };
  });
}

/** Puts what was left for later into a part that is opened. */
function fill(part) {
  for (const late of part.querySelectorAll("script[type='text/html']")) late.outerHTML = late.textContent;
  for (const late of part.querySelectorAll("script[type='application/json']")) {
    const table = late.parentNode.querySelector("table");
    sortable(table, unpacked(table, JSON.parse(late.textContent)), SHOWN)();
    late.remove();
  }
}

document.querySelectorAll("table.sortable").forEach((table) => sortable(table, written(table), Infinity));
document.querySelectorAll("details.late").forEach((part) => {
  part.addEventListener("toggle", () => fill(part), { once: true });
});

/** Opens what the address names. */
function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) target.open = true;
}
addEventListener("hashchange", reveal);
reveal();

// Paper cannot be opened. Tables of thousands of rows stay off it.
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open], .long)")];
  closed.forEach((part) => { part.open = true; fill(part); });
});
addEventListener("afterprint", () => closed.forEach((part) => (part.open = false)));
