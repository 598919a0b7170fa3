// One chart on the page: drawn from the data beside it, with its tools, its views and its keys.

/** Days from the first of them and the steps from each to the next. */
function days({ first, then }) {
  let at = Date.parse(first);
  return [first, ...then.map((step) => new Date((at += step * 86400000)).toISOString().slice(0, 10))];
}

/** What a chart's data says; one that is like another on the page has the other's points, frame by frame. */
function specOf(figure) {
  const own = JSON.parse(figure.querySelector("script").textContent, (key, value) => {
    if (key === "x" && value.first) return days(value);
    return key === "marked" ? new Set(value) : value;
  });
  if (!own.like) return own;
  const base = specOf(document.getElementById(`chart-${own.like}`));
  return { ...base, ...own, frames: base.frames.map((frame, at) => ({ ...frame, ...own.frames[at] })) };
}

const KINDS = {
  lines: { option: lineOption, tools: lineTools, view: lineView },
  points: { option: pointOption, tools: pointTools },
  tree: { option: treeOption, tools: treeTools, view: treeView },
};
const fresh = (spec) => ({ off: new Set(), zoom: { start: 0, end: 100 }, log: false, at: -1,
  frame: spec.frames ? spec.frames.length - 1 : 0 });

function draw(figure, spec) {
  const plot = figure.querySelector(".plot"), tools = figure.querySelector(".tools");
  const kind = KINDS[spec.kind];
  const state = fresh(spec);
  const chart = echarts.getInstanceByDom(plot) || echarts.init(plot, null, { renderer: "canvas" });
  const redraw = () => {
    state.wide = plot.clientWidth;
    chart.setOption(kind.option(spec, state, plot.clientHeight), { notMerge: true });
    if (kind.view) kind.view(spec, state, figure);
  };
  tools.replaceChildren(...(figure.choice ? [figure.choice] : []), ...kind.tools(spec, state, redraw, figure));
  tools.hidden = !tools.childElementCount;
  Object.assign(figure, { chart, spec, state, redraw });
  chart.off("datazoom");
  chart.on("datazoom", () => {
    const zoom = chart.getOption().dataZoom[0];
    state.zoom = { start: zoom.start, end: zoom.end };
    for (const button of tools.querySelectorAll("[data-range]")) button.setAttribute("aria-pressed", "false");
    if (kind.view) kind.view(spec, state, figure);
  });
  redraw();
}

/** Buttons that choose one of several charts. */
function choice(figure, views) {
  const names = Object.keys(views);
  const group = make("div", { class: "views", role: "group", "aria-label": "What is shown" });
  names.forEach((name, at) => group.append(make("button", { type: "button", "aria-pressed": String(at === 0),
    onclick: (event) => {
      for (const other of group.children) other.setAttribute("aria-pressed", String(other === event.currentTarget));
      draw(figure, views[name]);
    } }, name)));
  return names.length > 1 ? group : null;
}

/** Arrow keys read values one by one, + and - zoom, 0 shows all; what is read is said aloud. */
function byKeys(figure, plot, said) {
  plot.addEventListener("keydown", (event) => {
    const { chart, spec, state } = figure;
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
    const places = spec.kind === "lines" ? null
      : chart.getOption().series.flatMap((series, s) => series.type === "scatter" ? series.data.map((one, d) => [s, d, one]) : []);
    if (step !== undefined && places && !places.length) said.textContent = spec.absent;
    else if (step !== undefined) {
      const [from, to] = places ? [0, places.length - 1] : view(spec, state);
      state.at = Math.min(to, Math.max(from, (state.at < from ? (step > 0 ? from - 1 : to + 1) : state.at) + step));
      const [seriesIndex, dataIndex] = places ? places[state.at]
        : [shownSeries(spec).findIndex((series) => !state.off.has(series.name)), state.at];
      chart.dispatchAction({ type: "showTip", seriesIndex, dataIndex });
      const tip = places ? chart.getOption().tooltip[0].formatter({ data: places[state.at][2] })
        : chart.getOption().tooltip[0].formatter([{ dataIndex: state.at }]);
      said.textContent = tip.innerText.replace(/\n+/g, " ");
    } else if ("+-0".includes(event.key) && spec.kind !== "points" && chart.getOption().dataZoom) {
      const { start, end } = chart.getOption().dataZoom[0];
      const middle = (start + end) / 2, half = Math.min(50, ((end - start) / 2) * (event.key === "+" ? 0.7 : 1 / 0.7));
      chart.dispatchAction(event.key === "0" ? { type: "dataZoom", start: 0, end: 100 }
        : { type: "dataZoom", start: Math.max(0, middle - half), end: Math.min(100, middle + half) });
    } else return;
    event.preventDefault();
  });
}

function start(figure) {
  const spec = specOf(figure);
  if (spec.kind === "table") return table(figure, spec);
  const plot = figure.querySelector(".plot"), said = make("p", { class: "sr", role: "status" });
  figure.append(said);
  figure.choice = spec.kind === "views" ? choice(figure, spec.views) : null;
  const first = spec.kind === "views" ? Object.values(spec.views)[0] : spec;
  byKeys(figure, plot, said);
  // Drawn once it has a width: inside a closed part of the page it has none yet.
  new ResizeObserver(() => {
    if (!plot.clientWidth) return;
    if (!figure.chart) draw(figure, first);
    else figure.chart.resize();
  }).observe(plot);
}
