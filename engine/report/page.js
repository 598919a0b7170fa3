"use strict";
// Draws the page's charts and tables from the data that stands beside them; see layout/charts.py for what each kind is.
(() => {
  const root = document.documentElement;
  root.classList.add("js");

  // ---- words and tones ----

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

  // ---- lines, areas and bars ----

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
    const below = (spec.x_label ? 22 : 0) + (slanted ? 58 : 0);
    const above = TOP + (spec.marks.length ? 12 : 0); // their words take two lines
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
            : named ? (slanted ? { interval: 0, rotate: 50, hideOverlap: false, width: 92, overflow: "truncate" } : {})
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
      formatter: (mark) => mark.name.replace(", ", "\n"), position: "end" },
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

  // ---- maps of points, and trees ----

  function factRows(spec, frame, i, group) {
    const rows = group === null ? [] : [[spec.colors[group], spec.group, String(group)]];
    for (const facts of [spec.facts, frame.facts])
      for (const [name, values] of Object.entries(facts))
        if (values[i] !== "" && values[i] !== null) rows.push([null, name, write(values[i], "number")]);
    rows.push([null, spec.marked_word, frame.marked[i] ? "yes" : "no"]);
    return rows;
  }

  /** A series per group, so that pointing at one member brings out its group. */
  function byGroup(spec, frame, place, extra) {
    const groups = new Map();
    frame.groups.forEach((group, i) => {
      if (group === null) return;
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push(i);
    });
    return [...groups.keys()].sort((a, b) => a - b).map((group) => ({
      name: `${spec.group} ${group}`, type: "scatter", color: spec.colors[group], ...extra,
      emphasis: { focus: "series", scale: 1.25 }, blur: { itemStyle: { opacity: 0.12 }, label: { opacity: 0.15 } },
      labelLayout: { hideOverlap: true },
      data: groups.get(group).map((i) => ({
        value: place(i), name: spec.names[i], at: i, symbolSize: frame.marked[i] ? 13 : 8,
        itemStyle: frame.marked[i] ? { borderColor: tone("ink"), borderWidth: 1.8 } : { opacity: 0.8 },
        label: { show: frame.marked[i], formatter: spec.names[i], position: "right", color: tone("ink"), fontSize: 11,
          fontWeight: 600, textBorderColor: tone("paper"), textBorderWidth: 2 },
      })),
    }));
  }

  const hidden = { show: false, scale: true };

  function pointOption(spec, state) {
    const frame = spec.frames[state.frame];
    return {
      animation: false, textStyle: { fontFamily: font() }, grid: { left: 14, right: 84, top: 12, bottom: 34 },
      xAxis: { ...hidden, type: "value", min: Math.min(...spec.x), max: Math.max(...spec.x) },
      yAxis: { ...hidden, type: "value", min: Math.min(...spec.y), max: Math.max(...spec.y) },
      graphic: { type: "text", left: 14, bottom: 4, style: { text: spec.note, fill: tone("muted"), font: `12px ${font()}` } },
      tooltip: tooltip(({ data }) => box(data.name, factRows(spec, frame, data.at, frame.groups[data.at])), "item"),
      ...(matchMedia("(pointer: fine)").matches ? { dataZoom: [0, 1].map((axis) => ({ type: "inside", filterMode: "none",
        zoomOnMouseWheel: "ctrl", moveOnMouseMove: true, [axis ? "yAxisIndex" : "xAxisIndex"]: 0 })) } : {}),
      series: byGroup(spec, frame, (i) => [spec.x[i], spec.y[i]], {}),
    };
  }

  function pointTools(spec, state, redraw, figure) {
    const tools = [];
    if (spec.frames.length > 1) {
      const said = make("output", {}, spec.frames[state.frame].label);
      const slider = make("input", { type: "range", min: 0, max: spec.frames.length - 1, value: state.frame, step: 1,
        "aria-label": "Decision", "aria-valuetext": spec.frames[state.frame].label,
        oninput: (event) => {
          state.frame = Number(event.currentTarget.value);
          said.textContent = spec.frames[state.frame].label;
          slider.setAttribute("aria-valuetext", said.textContent);
          redraw();
        } });
      tools.push(make("label", { class: "frames" }, "Decision ", slider, said));
    }
    tools.push(finder(spec, figure));
    return tools;
  }

  let finders = 0;
  /** A box to find a point by its name. */
  function finder(spec, figure) {
    const id = `names-${(finders += 1)}`;
    const list = make("datalist", { id }, ...spec.names.map((name) => make("option", { value: name })));
    const input = make("input", { type: "search", list: id, placeholder: "Find a symbol", "aria-label": `Find in: ${spec.title}`,
      onchange: (event) => point(figure, event.currentTarget.value) });
    return make("span", { class: "finder" }, input, list);
  }

  /** Show the box of the point of that name, as if the pointer were there. */
  function point(figure, name) {
    const chart = figure.chart;
    chart.getOption().series.forEach((series, seriesIndex) => {
      const dataIndex = series.data.findIndex((one) => one && one.name === name);
      if (dataIndex >= 0) {
        chart.dispatchAction({ type: "showTip", seriesIndex, dataIndex });
        chart.dispatchAction({ type: "highlight", seriesIndex, dataIndex });
      }
    });
  }

  function treeOption(spec) {
    const frame = { groups: spec.groups, marked: spec.marked, facts: {} };
    const branches = new Map();
    for (const [group, xs, ys] of spec.branches) {
      if (!branches.has(group)) branches.set(group, []);
      branches.get(group).push(...xs.map((x, i) => [x, ys[i]]), [null, null]);
    }
    const dots = byGroup({ ...spec, names: spec.leaves }, frame, (i) => [i, 0], { z: 4 });
    for (const series of dots)
      for (const one of series.data) {
        one.symbolSize = spec.marked[one.at] ? 9 : 4;
        Object.assign(one.label, { position: "bottom", rotate: 90, align: "right", verticalAlign: "middle", distance: 6 });
      }
    return {
      animation: false, textStyle: { fontFamily: font() }, grid: { left: LEFT, right: RIGHT, top: TOP, bottom: 92 + SLIDER - 20 },
      xAxis: { type: "value", min: -1, max: spec.leaves.length, show: false },
      yAxis: { type: "value", name: spec.label, nameGap: 8, nameTextStyle: { ...ink(), align: "left", padding: [0, 0, 0, 8 - LEFT] },
        axisLabel: { ...ink(), formatter: onAxis("number") }, splitLine: { lineStyle: { color: tone("line") } } },
      tooltip: tooltip(({ data }) => box(data.name, factRows(spec, frame, data.at, spec.groups[data.at])), "item"),
      dataZoom: zooms({ panels: [0] }, { zoom: { start: 0, end: 100 } }),
      series: [...[...branches].map(([group, data]) => ({ type: "line", data, silent: true, showSymbol: false,
        connectNulls: false, color: group === null ? tone("muted") : spec.colors[group], lineStyle: { width: 1.2 },
        tooltip: { show: false } })), ...dots],
    };
  }

  // ---- one chart on the page ----

  const KINDS = {
    lines: { option: lineOption, tools: lineTools, view: lineView },
    points: { option: pointOption, tools: pointTools },
    tree: { option: treeOption, tools: (spec, state, redraw, figure) => [finder({ ...spec, names: spec.leaves }, figure)] },
  };
  const fresh = (spec) => ({ off: new Set(), zoom: { start: 0, end: 100 }, log: false, at: -1,
    frame: spec.frames ? spec.frames.length - 1 : 0 });

  function draw(figure, spec) {
    const plot = figure.querySelector(".plot"), tools = figure.querySelector(".tools");
    const kind = KINDS[spec.kind];
    const state = fresh(spec);
    const chart = echarts.getInstanceByDom(plot) || echarts.init(plot, null, { renderer: "canvas" });
    const redraw = () => {
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
      if (step !== undefined) {
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
    const spec = JSON.parse(figure.querySelector("script").textContent);
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

  // ---- tables ----

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

  // ---- the page ----

  for (const figure of document.querySelectorAll("figure.chart")) start(figure);
  for (const element of document.querySelectorAll("table.sortable")) sortable(element);
  for (const button of document.querySelectorAll("[data-opens]"))
    button.onclick = () => document.getElementById(button.dataset.opens).showModal();
  for (const dialog of document.querySelectorAll("dialog"))
    dialog.querySelector("[data-closes]").onclick = () => dialog.close();
  // What scrolls sideways can be reached by keys, and says so.
  const reach = () => {
    for (const region of document.querySelectorAll(".scroll"))
      region.toggleAttribute("data-more", region.scrollWidth > region.clientWidth + 1);
    for (const region of document.querySelectorAll(".scroll[data-more]"))
      if (!region.hasAttribute("tabindex")) {
        region.tabIndex = 0;
        region.setAttribute("role", "region");
        region.setAttribute("aria-label", `${region.querySelector("caption")?.textContent || "Table"}, scrolls sideways`);
      }
  };
  addEventListener("resize", reach);
  document.addEventListener("toggle", reach, true);
  reach();
  for (const media of ["(prefers-color-scheme: dark)", "print"])
    matchMedia(media).addEventListener("change", () => {
      for (const figure of document.querySelectorAll("figure.chart")) if (figure.redraw) figure.redraw();
    });
})();
