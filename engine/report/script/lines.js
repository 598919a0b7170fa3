// Lines, areas and bars over days, numbers or names (layout/charts.py: Lines).

/** Whether x is time; bars stand side by side, whatever their dates. */
const isDays = (spec) => /^\d{4}-\d\d-\d\d$/.test(spec.x[0])
  && !spec.panels.some((panel) => panel.series.some((series) => series.shape === "bar"));
const LEFT = 66, RIGHT = 14, TOP = 26, GAP = 34, SLIDER = 34;
const RANGES = [["1M", 1], ["3M", 3], ["6M", 6], ["1Y", 12], ["3Y", 36], ["5Y", 60]];

/** A base whose powers put a handful of lines into view. */
function logBase(values) {
  const ratio = Math.max(...values) / Math.min(...values);
  return [1.01, 1.02, 1.05, 1.1, 1.25, 1.5, 2, 5].find((base) => Math.log(ratio) / Math.log(base) <= 7) || 10;
}

function lineOption(spec, state, height) {
  const days = isDays(spec);
  const named = !days && typeof spec.x[0] === "string";
  const foot = (days && spec.x.length > 12) || spec.x.length > 60 ? SLIDER : 0;
  // Names stand slanted, each of them, where there are too many to stand level and few enough to be read.
  const slanted = named && spec.x.length > 8 && spec.x.length <= 24 && spec.x.some((one) => one.length > 5);
  const upright = slanted && document.documentElement.clientWidth < 600; // slanted they would lie over one another
  const below = (spec.x_label ? 22 : 0) + (upright ? 84 : slanted ? 58 : 0);
  const above = TOP + (spec.marks.length ? 26 : 0); // their words take two lines above the axis' name
  const room = height - above - 24 - below - foot - GAP * (spec.panels.length - 1);
  const shares = spec.panels.reduce((sum, panel) => sum + panel.share, 0);
  const option = {
    animation: false, grid: [], xAxis: [], yAxis: [], series: [], textStyle: { fontFamily: font() },
    axisPointer: { link: [{ xAxisIndex: "all" }], label: { show: false } },
  };
  let top = above, at = 0;
  spec.panels.forEach((panel, p) => {
    const tall = (room * panel.share) / shares;
    const last = p === spec.panels.length - 1;
    option.grid.push({ left: LEFT, right: RIGHT, top, height: tall });
    top += tall + GAP;
    option.xAxis.push({
      type: days ? "time" : named ? "category" : spec.x_log ? "log" : "value", gridIndex: p,
      ...(named ? { data: spec.x } : { min: "dataMin", max: "dataMax" }),
      name: last ? spec.x_label : "", nameLocation: "middle", nameGap: 28, nameTextStyle: ink(),
      axisLabel: { ...ink(), show: last, hideOverlap: true,
        ...(days ? { formatter: { year: "{yyyy}", month: "{MMM} {yyyy}", day: "{d} {MMM}" } }
          : named ? (slanted ? { interval: 0, rotate: upright ? 90 : 50, hideOverlap: false, width: 92, overflow: "truncate" } : {})
          : { formatter: onAxis("number"), showMaxLabel: spec.x_log || undefined }) },
      axisLine: { lineStyle: { color: tone("line") }, onZero: false }, axisTick: { show: false },
      splitLine: { show: false },
    });
    const log = panel.log && state.log;
    const values = panel.series.flatMap((one) => one.values).filter((one) => one !== null);
    option.yAxis.push({
      type: log ? "log" : "value", gridIndex: p, scale: !panel.zero && !panel.stacked && !panel.series.some((s) => s.shape === "bar"),
      ...(log ? { logBase: logBase(values) } : {}), splitNumber: tall < 120 ? 3 : 5,
      name: panel.label + (log ? ", logarithmic" : ""), nameLocation: "end", nameGap: 8,
      nameTextStyle: { ...ink(), align: "left", padding: [0, 0, 0, 8 - LEFT] },
      ...(whole(panel) ? { max: 1 } : {}),
      axisLabel: { ...ink(), formatter: onAxis(panel.unit), hideOverlap: true },
      axisLine: { show: false }, axisTick: { show: false }, splitLine: { lineStyle: { color: tone("line") } },
    });
    panel.series.forEach((series) => {
      const tint = color(series, at);
      const off = state.off.has(series.name);
      const width = series.role === "strategy" ? 2.4 : 1.6;
      option.series.push({
        name: series.name, type: series.shape === "bar" ? "bar" : "line", xAxisIndex: p, yAxisIndex: p,
        data: off ? [] : named ? series.values : spec.x.map((x, i) => [x, series.values[i]]),
        showSymbol: series.shape === "points" || spec.x.length === 1, symbol: "circle", symbolSize: 6,
        color: tint, z: series.role === "strategy" ? 3 : 2,
        ...(panel.stacked ? { stack: `s${p}`, step: series.shape === "area" && days ? "end" : false } : {}),
        lineStyle: { color: tint, width: panel.stacked ? 0.6 : width, type: series.role === "gross" ? "dashed" : "solid" },
        ...(series.shape === "area" ? { areaStyle: { color: tint, opacity: panel.stacked ? 0.9 : 0.22, origin: panel.stacked ? "auto" : 0 } } : {}),
        ...(series.shape === "bar" ? { barMaxWidth: 40, barCategoryGap: "12%" } : {}),
        emphasis: { disabled: true },
        ...(spec.marks.length && at === 0 ? { markLine: marks(spec) } : {}),
      });
      at += 1;
    });
  });
  option.tooltip = tooltip((hits) => {
    const i = hits[0].dataIndex;
    return box(named || days ? spec.x[i] : `${spec.x_label} ${onAxis("number")(spec.x[i])}`,
      option.series.flatMap((series, s) => state.off.has(series.name) ? [] :
        [[series.color, series.name, write(shownSeries(spec)[s].values[i], shownSeries(spec)[s].unit)]]));
  }, "axis");
  if (foot) option.dataZoom = zooms(spec, state, foot);
  return option;
}

/** Whether a stack of shares makes up the whole everywhere. */
const whole = (panel) => panel.stacked && panel.unit === "percent" && panel.series.every((one) => one.values.every((v) => v >= 0))
  && Math.min(...panel.series[0].values.map((_, i) => panel.series.reduce((sum, one) => sum + one.values[i], 0))) > 0.99;

const shownSeries = (spec) =>
  spec.panels.flatMap((panel) => panel.series.map((series) => ({ ...series, unit: panel.unit })));

/** Lines across a chart; the words of one in the right half stand to its left, so that none is cut off. */
const marks = (spec) => ({
  symbol: "none", silent: true, lineStyle: { color: tone("strategy"), width: 2, type: "solid" },
  label: { color: tone("ink"), fontSize: 12, fontWeight: 600, lineHeight: 15,
    formatter: (mark) => mark.name.replace(", ", "\n"), position: "end", distance: 18 },
  data: spec.marks.map(([x, words]) => {
    const named = typeof spec.x[0] === "string", last = spec.x.length - 1;
    const part = named ? spec.x.indexOf(x) / last : (x - spec.x[0]) / (spec.x[last] - spec.x[0]);
    return { xAxis: x, name: words, label: { align: part > 0.6 ? "right" : part < 0.4 ? "left" : "center" } };
  }),
});

function zooms(spec, state) {
  const all = spec.panels.map((_, p) => p);
  const shared = { xAxisIndex: all, filterMode: "none", ...state.zoom };
  const slider = {
    ...shared, type: "slider", bottom: 6, height: 20, left: LEFT, right: RIGHT, brushSelect: false, showDetail: false,
    borderColor: tone("line"), backgroundColor: tone("ground"), fillerColor: tone("range"), showDataShadow: false,
    handleStyle: { color: tone("paper"), borderColor: tone("muted") }, moveHandleStyle: { color: tone("muted") },
  };
  // With a finger the page scrolls; zooming is the slider's and the buttons'.
  const fine = matchMedia("(pointer: fine)").matches;
  return fine ? [{ ...shared, type: "inside", zoomOnMouseWheel: "ctrl", moveOnMouseMove: true, moveOnMouseWheel: false }, slider] : [slider];
}

/** First and last position in view. */
function view(spec, state) {
  const last = spec.x.length - 1;
  if (!isDays(spec)) return [0, last];
  const [first, end] = [Date.parse(spec.x[0]), Date.parse(spec.x[last])];
  const at = (share) => first + ((end - first) * share) / 100;
  const from = spec.x.findIndex((day) => Date.parse(day) >= at(state.zoom.start) - 1);
  let to = last;
  while (to > from && Date.parse(spec.x[to]) > at(state.zoom.end) + 1) to -= 1;
  return [from, to];
}

function lineTools(spec, state, redraw, figure) {
  const keys = make("div", { class: "keys", role: "group", "aria-label": "Series on and off" });
  const seen = new Set();
  shownSeries(spec).forEach((series, at) => {
    if (seen.has(series.name)) return;
    seen.add(series.name);
    keys.append(make("button", { type: "button", "aria-pressed": String(!state.off.has(series.name)),
      onclick: (event) => {
        if (!state.off.delete(series.name)) state.off.add(series.name);
        event.currentTarget.setAttribute("aria-pressed", String(!state.off.has(series.name)));
        redraw();
      } }, swatch(color(series, at)), series.name));
  });
  const buttons = make("div", { class: "ranges", role: "group", "aria-label": "Range and scale" });
  if (isDays(spec) && spec.x.length > 12) {
    const last = Date.parse(spec.x.at(-1)), span = last - Date.parse(spec.x[0]);
    const choose = (start, button) => {
      state.zoom = { start, end: 100 };
      for (const other of buttons.querySelectorAll("[data-range]")) other.setAttribute("aria-pressed", String(other === button));
      redraw();
    };
    for (const [words, months] of [...RANGES, ["All", Infinity]]) {
      const back = new Date(last);
      if (months < Infinity) back.setUTCMonth(back.getUTCMonth() - months);
      const start = months < Infinity ? 100 - (100 * (last - back)) / span : 0;
      if (start < 0) continue;
      buttons.append(make("button", { type: "button", "data-range": words, "aria-pressed": String(words === "All"),
        onclick: (event) => choose(start, event.currentTarget) }, words));
    }
  }
  if (spec.panels.some((panel) => panel.log))
    buttons.append(make("button", { type: "button", "data-log": "", "aria-pressed": "false", onclick: (event) => {
      state.log = !state.log;
      event.currentTarget.setAttribute("aria-pressed", String(state.log));
      redraw();
    } }, "Log"));
  const tools = [];
  if (seen.size > 1) tools.push(keys);
  if (buttons.childElementCount) tools.push(buttons);
  if (spec.panels.some((panel) => panel.growth)) tools.push(make("output", { class: "view" }));
  return tools;
}

function lineView(spec, state, figure) {
  const output = figure.querySelector("output.view");
  if (!output) return;
  const [from, to] = view(spec, state);
  const parts = spec.panels.filter((panel) => panel.growth).flatMap((panel) => panel.series)
    .filter((series) => series.role !== "gross" && !state.off.has(series.name))
    .map((series) => {
      const change = series.values[to] / series.values[from] - 1;
      return `${series.name} ${change >= 0 ? "+" : ""}${write(change, "percent")}`;
    });
  output.textContent = `${spec.x[from]} to ${spec.x[to]}: ${parts.join(" · ")}`;
}
