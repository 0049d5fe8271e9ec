"use strict";

// A click on a header sorts up, the next one down, the third brings back the order of the report.
function key(cell) {
  const text = cell.textContent.trim();
  if ("value" in cell.dataset) return Number(cell.dataset.value);
  return text === "" || text === "–" || text === "-" ? null : text;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

function sortBy(column, rows, direction) {
  const empty = (row) => key(row.cells[column]) === null || Number.isNaN(key(row.cells[column]));
  const filled = rows.filter((row) => !empty(row));
  filled.sort((a, b) => direction * compare(key(a.cells[column]), key(b.cells[column])));
  return [...filled, ...rows.filter(empty)]; // what has no value is last, either way
}

for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const next = { ascending: "descending", descending: null }[header.getAttribute("aria-sort")];
      const order = next === undefined ? "ascending" : next;
      headers.forEach((other) => other.removeAttribute("aria-sort"));
      if (order) header.setAttribute("aria-sort", order);
      table.classList.toggle("sorted", Boolean(order));
      body.append(...(order ? sortBy(column, rows, order === "ascending" ? 1 : -1) : rows));
    });
  });
}

// In a table wider than its box the labels stay in place: all of them, or if they take too much room the last full one.
function pin(table) {
  const box = table.parentElement;
  const number = Number(table.dataset.labels);
  for (const cell of table.querySelectorAll(".pinned")) cell.classList.remove("pinned");
  if (box.scrollWidth <= box.clientWidth) return;
  const widths = [...table.tHead.rows[0].cells].slice(0, number).map((cell) => cell.offsetWidth);
  let columns = [...widths.keys()];
  if (widths.reduce((sum, width) => sum + width, 0) > 0.55 * box.clientWidth) {
    const full = (column) => [...table.tBodies[0].rows].every((row) => row.cells[column].textContent.trim());
    columns = columns.filter(full).slice(-1);
  }
  let left = 0;
  for (const column of columns) {
    for (const row of table.rows) {
      row.cells[column].classList.add("pinned");
      row.cells[column].style.left = `${left}px`;
    }
    left += widths[column];
  }
}

// A picture that is drawn smaller than it is shows its full size when it is clicked, and scrolls in its card.
function offerFullSize(card) {
  const image = card.firstElementChild;
  const larger = image.width < Number(image.getAttribute("width"));
  card.classList.toggle("larger", larger);
  card.title = larger ? "Click for the full size" : "";
  if (larger) card.tabIndex = 0;
  else card.removeAttribute("tabindex");
}

const cards = [...document.querySelectorAll(".card")];
for (const card of cards) {
  card.addEventListener("click", () => {
    if (card.classList.contains("larger")) card.classList.toggle("full");
  });
  card.addEventListener("keydown", (event) => {
    if (event.key === "Enter") card.click();
  });
}

function fit() {
  document.querySelectorAll("table").forEach(pin);
  cards.filter((card) => !card.classList.contains("full")).forEach(offerFullSize);
}
window.addEventListener("resize", fit);
window.addEventListener("load", fit);

// The table of contents stands beside the text where there is room, and folds where there is not.
const contents = document.querySelector("#contents details");
const wide = window.matchMedia("(min-width: 70rem)");
const fold = () => { contents.open = wide.matches; };
wide.addEventListener("change", fold);
fold();

// On paper nothing is folded.
const folded = document.querySelectorAll(".definitions");
let open = [];
window.addEventListener("beforeprint", () => {
  open = [...folded].filter((part) => part.open);
  folded.forEach((part) => { part.open = true; });
});
window.addEventListener("afterprint", () => folded.forEach((part) => { part.open = open.includes(part); }));

// Mark the part that is being read.
const links = new Map([...document.querySelectorAll("#contents a")].map((link) => [link.hash.slice(1), link]));
const places = [...links.keys()].map((id) => document.getElementById(id)).filter(Boolean);
function mark() {
  const passed = places.filter((place) => place.getBoundingClientRect().top < 120);
  const current = passed.at(-1) ?? places[0];
  for (const [id, link] of links) link.toggleAttribute("aria-current", id === current.id);
}
document.addEventListener("scroll", mark, { passive: true });
mark();
