// Maps of points and dendrograms, with a slider over the decisions (layout/charts.py: Points, Tree).

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
