// Tables that are sorted and searched.

const raw = (cell) => {
  const text = cell.dataset.value ?? cell.textContent.trim();
  const number = Number(text.replaceAll(",", "").replace("\u2212", "-").replace("%", ""));
  return text === "" || text === "–" ? null : Number.isNaN(number) ? text : number;
};

/** The headings become buttons that sort by their column; what is missing stands last. */
function sortable(element) {
  const heads = [...element.tHead.rows[0].cells];
  heads.forEach((head, at) => {
    const button = make("button", { type: "button", class: "sort", onclick: () => {
      const down = head.getAttribute("aria-sort") === "descending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "ascending" : "descending");
      const keyed = [...element.tBodies[0].rows].map((row) => [raw(row.cells[at]), row]);
      keyed.sort(([a], [b]) => a === null ? 1 : b === null ? -1
        : (typeof a === "number" && typeof b === "number" ? b - a : String(b).localeCompare(String(a))) * (down ? -1 : 1));
      element.tBodies[0].append(...keyed.map(([, row]) => row));
    } }, ...head.childNodes);
    head.replaceChildren(button);
  });
}

function table(figure, spec) {
  const text = (column) => (column.unit === "text" ? `text${column.wrap ? " wrap" : ""}` : undefined);
  const cells = (row) => row.map((value, at) => make(at ? "td" : "th", { scope: at ? false : "row", class: text(spec.columns[at]),
    "data-value": value === null ? "" : String(value) }, write(value, spec.columns[at].unit)));
  const rows = spec.rows.map((row) => make("tr", {}, ...cells(row)));
  const body = make("tbody", {}, ...rows);
  const element = make("table", { class: "grid" }, make("caption", { class: "sr" }, spec.title),
    make("thead", {}, make("tr", {}, ...spec.columns.map((column) => make("th", { scope: "col", class: text(column) }, column.name)))), body);
  sortable(element);
  const plot = figure.querySelector(".plot"), tools = figure.querySelector(".tools");
  plot.classList.add("scroll");
  plot.replaceChildren(element);
  if (rows.length <= spec.shown) return;
  const state = { all: false, words: "" };
  const count = make("output");
  const show = () => {
    let left = state.all || state.words ? Infinity : spec.shown;
    for (const row of body.rows) row.hidden = !(row.textContent.toLowerCase().includes(state.words) && left-- > 0);
    count.textContent = `${[...body.rows].filter((row) => !row.hidden).length} of ${rows.length}`;
  };
  const all = make("button", { type: "button", "aria-pressed": "false", onclick: () => {
    state.all = !state.all;
    all.setAttribute("aria-pressed", String(state.all));
    show();
  } }, "Show all");
  tools.append(make("input", { type: "search", placeholder: "Search", "aria-label": `Search in: ${spec.title}`,
    oninput: (event) => { state.words = event.currentTarget.value.toLowerCase(); show(); } }), all, count);
  tools.hidden = false;
  element.tHead.addEventListener("click", show);
  show();
}

/** A table's rows as cards, each value under its heading, or as rows again; to a screen reader it stays a table. */
function cards(element, on) {
  if (element.classList.contains("cards") === on) return;
  element.classList.toggle("cards", on);
  const heads = [...element.tHead.rows[0].cells].map((head) => head.textContent.trim());
  const roles = [[[element], "table"], [element.rows, "row"], [element.querySelectorAll("thead th"), "columnheader"],
    [element.querySelectorAll("tbody th"), "rowheader"], [element.querySelectorAll("td"), "cell"]];
  for (const [parts, role] of roles)
    for (const part of parts) on ? part.setAttribute("role", role) : part.removeAttribute("role");
  if (on) for (const row of element.tBodies[0].rows)
    [...row.cells].forEach((cell, at) => { cell.dataset.label = heads[at]; });
}
