// Words and tones: how values are written, how elements and boxes beside the pointer are made.

const root = document.documentElement;
root.classList.add("js");

const tone = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
const minus = (text) => text.replace("-", "\u2212");
const grouped = (value, digits) =>
  value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const FORMATS = {
  percent: (value) => `${grouped(100 * value, 2)}%`,
  money: (value) => grouped(value, 0),
  count: (value) => grouped(value, 0),
  number: (value) => grouped(value, 2),
  text: (value) => String(value),
};
const write = (value, unit) =>
  value === null || value === undefined ? "–" : typeof value === "string" ? value : minus(FORMATS[unit](value));
const onAxis = (unit) => (value) => {
  const shown = unit === "percent" ? 100 * value : value;
  const text = minus(Number(shown.toPrecision(3)).toLocaleString("en-US", { maximumFractionDigits: 6 }));
  return unit === "percent" ? `${text}%` : text;
};
const PALETTE = 10;
const color = (series, at) => tone(series.role || `c${at % PALETTE}`);

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick" || name === "oninput" || name === "onchange") element[name] = value;
    else if (value !== false && value !== undefined) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

function swatch(background) {
  const dot = make("span", { class: "swatch" });
  dot.style.background = background;
  return dot;
}

/** What stands in the box beside the pointer: as nodes, so that no name is ever read as markup. */
function box(heading, rows) {
  const list = make("dl", { class: "tip" });
  for (const [tint, label, value] of rows)
    list.append(make("dt", {}, ...(tint ? [swatch(tint)] : []), label), make("dd", {}, value));
  return make("div", {}, make("strong", {}, heading), list);
}

const font = () => getComputedStyle(document.body).fontFamily;
const ink = () => ({ color: tone("muted"), fontSize: 12, fontFamily: font() });
const tooltip = (formatter, trigger) => ({
  trigger, confine: true, formatter, backgroundColor: tone("paper"), borderColor: tone("line"), padding: [8, 12],
  textStyle: { color: tone("ink"), fontSize: 13, fontFamily: font() }, transitionDuration: 0,
  axisPointer: { type: "line", lineStyle: { color: tone("muted"), width: 1 } },
});
