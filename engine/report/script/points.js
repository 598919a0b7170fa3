// Maps of points and dendrograms, with a slider over the decisions (layout/charts.py: Points, Elsewhere, Tree).

const groupTone = (group) => tone(group === null ? "muted" : `k${group}`);

function factRows(spec, frame, i) {
  const rows = [[groupTone(frame.groups[i]), spec.group, String(frame.groups[i])]];
  for (const facts of [spec.facts, frame.facts])
    for (const [name, values] of Object.entries(facts))
      if (values[i] !== "" && values[i] !== null) rows.push([null, name, write(values[i], "number")]);
  rows.push([null, spec.marked_word, frame.marked.has(i) ? "yes" : "no"]);
  return rows;
}

/** A series per group, so that pointing at one member brings out its group. */
function byGroup(spec, frame, place, look, focus = "series") {
  const groups = new Map();
  frame.groups.forEach((group, i) => {
    if (group === null || place(i) === null) return;
    if (!groups.has(group)) groups.set(group, []);
    groups.get(group).push(i);
  });
  return [...groups.keys()].sort((a, b) => a - b).map((group) => ({
    name: `${spec.group} ${group}`, type: "scatter", color: groupTone(group), z: 4,
    emphasis: { focus, scale: 1.25 }, blur: { itemStyle: { opacity: 0.12 }, label: { opacity: 0.15 } },
    labelLayout: { hideOverlap: true },
    data: groups.get(group).map((i) => {
      const { size, label } = look(i);
      return { value: place(i), name: spec.names[i], at: i, symbolSize: size,
        itemStyle: frame.marked.has(i) ? { borderColor: tone("ink"), borderWidth: 1.8 } : { opacity: 0.9 },
        label: { formatter: spec.names[i], color: tone("ink"), fontSize: 11, fontWeight: frame.marked.has(i) ? 600 : 400,
          textBorderColor: tone("paper"), textBorderWidth: 2, ...label } };
    }),
  }));
}

const byPoint = (spec, frame) => tooltip(({ data }) => box(data.name, factRows(spec, frame, data.at)), "item");

const SIDE = 999; // the places' scale
const hidden = { show: false, type: "value", min: -0.02 * SIDE, max: 1.02 * SIDE };

function pointOption(spec, state) {
  const frame = spec.frames[state.frame];
  return {
    animation: false, textStyle: { fontFamily: font() }, grid: { left: 14, right: 84, top: 12, bottom: 34 },
    xAxis: { ...hidden }, yAxis: { ...hidden },
    graphic: { type: "text", left: 14, bottom: 4, style: { text: frame.x.some((x) => x !== null) ? spec.note : spec.absent, fill: tone("muted"), font: `12px ${font()}` } },
    tooltip: byPoint(spec, frame),
    ...(matchMedia("(pointer: fine)").matches ? { dataZoom: [0, 1].map((axis) => ({ type: "inside", filterMode: "none",
      zoomOnMouseWheel: "ctrl", moveOnMouseMove: true, [axis ? "yAxisIndex" : "xAxisIndex"]: 0 })) } : {}),
    series: byGroup(spec, frame, (i) => frame.x[i] === null ? null : [frame.x[i], frame.y[i]],
      (i) => ({ size: frame.marked.has(i) ? 13 : 8, label: { show: frame.marked.has(i), position: "right" } })),
  };
}

/** What a frame shows, in words. */
function frameWords(spec, state) {
  const frame = spec.frames[state.frame], there = frame.groups.filter((group) => group !== null);
  return `${frame.label}: ${there.length} assets, ${new Set(there).size} clusters`;
}

/** Every map and tree on the page shows the decision of that day. */
function decideOn(label) {
  for (const figure of document.querySelectorAll("figure.chart")) {
    const at = figure.spec?.frames ? figure.spec.frames.findIndex((frame) => frame.label === label) : -1;
    if (at < 0) continue;
    figure.state.frame = at;
    figure.querySelector("output").textContent = frameWords(figure.spec, figure.state);
    const slider = figure.querySelector("input[type=range]");
    slider.value = at;
    slider.setAttribute("aria-valuetext", label);
    figure.redraw();
  }
}

function pointTools(spec, state, redraw, figure) {
  const said = make("output", {}, frameWords(spec, state));
  const slider = make("input", { type: "range", min: 0, max: spec.frames.length - 1, value: state.frame, step: 1,
    "aria-label": "Decision", "aria-valuetext": spec.frames[state.frame].label,
    oninput: (event) => decideOn(spec.frames[Number(event.currentTarget.value)].label) });
  const framed = spec.frames.length > 1 ? make("label", { class: "frames" }, "Decision ", slider, said) : said;
  return [framed, finder(spec, figure)];
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

/** Show the box of the point of that name, as if the pointer were there; a tree is brought near it. */
function point(figure, name) {
  const { chart, spec, state } = figure;
  const leaf = spec.kind === "tree" ? spec.frames[state.frame].leaves.indexOf(spec.names.indexOf(name)) : -1;
  if (leaf >= 0) {
    lookAt(figure, leaf - room(state) / 3, leaf + room(state) / 3);
    figure.querySelector("select").value = "";
  }
  chart.getOption().series.forEach((series, seriesIndex) => {
    if (series.type !== "scatter") return;
    const dataIndex = series.data.findIndex((one) => one.name === name);
    if (dataIndex >= 0) {
      chart.dispatchAction({ type: "showTip", seriesIndex, dataIndex });
      chart.dispatchAction({ type: "highlight", seriesIndex, dataIndex });
    }
  });
}

// ---- dendrograms ----

/** A name that stands upright takes so many pixels. Leaves that have them are named, and joined one by one; of more only
 *  the clusters are drawn. */
const UPRIGHT = 13;
const room = (state) => (state.wide - LEFT - RIGHT) / UPRIGHT;

/** The tree's root: each node has its place `x`, `y`, the leaves `from` to `to` and its group, null where it has several. */
function grow(frame) {
  const leaf = (at) => ({ x: at, y: 0, from: at, to: at, group: frame.groups[frame.leaves[at]], below: [] });
  const join = (a, b, y) => ({ x: (a.x + b.x) / 2, y, from: a.from, to: b.to, below: [a, b],
    group: a.group === b.group ? a.group : null });
  const open = []; // what has met its left neighbour and waits for the right one
  let node = leaf(0);
  const close = (height) => { while (open.length && open.at(-1).height <= height) {
    const left = open.pop();
    node = join(left.node, node, left.height);
  } };
  frame.heights.forEach((height, at) => {
    close(height);
    open.push({ node, height });
    node = leaf(at + 1);
  });
  close(Infinity);
  return node;
}

/** First and last leaf in view, and whether they are few enough to be named. */
function inView(spec, state) {
  const span = spec.frames[state.frame].leaves.length + 1;
  const [from, to] = [state.zoom.start, state.zoom.end].map((part) => (span * part) / 100 - 1);
  return { from, to, near: to - from <= room(state) };
}

/** The top of the axis: all of the tree from afar, near by the clusters in view. */
function treeTop(root, { from, to, near }) {
  const tops = [];
  const walk = (node) => {
    if (node.to < from || node.from > to) return;
    if (node.group !== null) tops.push(node.y);
    else node.below.forEach(walk);
  };
  walk(root);
  const highest = Math.max(...tops);
  return near && highest > 0 ? Number((1.5 * highest).toPrecision(1)) : null;
}

/** Branches by group as points with gaps between them; from afar what is one group is one wedge. */
function limbs(root, near) {
  const branches = new Map(), wedges = new Map();
  const add = (map, group, points) => {
    if (!map.has(group)) map.set(group, []);
    map.get(group).push(...points, [null, null]);
  };
  const walk = (node) => {
    if (!node.below.length) return;
    if (!near && node.group !== null)
      return add(wedges, node.group, [[node.from - 0.4, 0], [node.x, node.y], [node.to + 0.4, 0]]);
    const [a, b] = node.below;
    add(branches, node.group, [[a.x, a.y], [a.x, node.y], [b.x, node.y], [b.x, b.y]]);
    node.below.forEach(walk);
  };
  walk(root);
  return { branches, wedges };
}

/** What of a tree depends on how much of it is in view. */
function treeParts(spec, state) {
  const frame = spec.frames[state.frame], seen = inView(spec, state), { near } = seen, root = grow(frame);
  const at = new Map(frame.leaves.map((i, leaf) => [i, leaf]));
  const { branches, wedges } = limbs(root, near);
  const apart = ((seen.to - seen.from) / room(state)), named = new Set(); // picks whose names have room
  let free = -Infinity;
  frame.leaves.forEach((i, leaf) => {
    if (!near && (!frame.marked.has(i) || leaf < free)) return;
    named.add(i);
    free = leaf + apart;
  });
  const line = ([group, data], filled) => ({ type: "line", data, silent: true, showSymbol: false, connectNulls: false,
    color: groupTone(group), lineStyle: { width: 1.2 }, tooltip: { show: false },
    ...(filled ? { areaStyle: { color: groupTone(group), opacity: 0.45, origin: 0 } } : {}) });
  return { yAxis: { max: treeTop(root, seen) }, series: [
    ...[...branches].map((one) => line(one, false)), ...[...wedges].map((one) => line(one, true)),
    ...byGroup(spec, frame, (i) => at.has(i) ? [at.get(i), 0] : null, (i) => ({ size: frame.marked.has(i) ? 9 : near ? 5 : 3,
      label: { show: named.has(i), position: "bottom", rotate: 90, align: "right", verticalAlign: "middle", distance: 6 } }), "none"),
  ] };
}

function treeOption(spec, state) {
  const frame = spec.frames[state.frame], { yAxis, series } = treeParts(spec, state);
  return {
    animation: false, textStyle: { fontFamily: font() }, grid: { left: LEFT, right: RIGHT, top: TOP, bottom: 108 + SLIDER - 20 },
    xAxis: { type: "value", min: -1, max: frame.leaves.length, show: false },
    yAxis: { ...yAxis, type: "value", name: spec.label, nameGap: 8, nameTextStyle: { ...ink(), align: "left", padding: [0, 0, 0, 8 - LEFT] },
      axisLabel: { ...ink(), formatter: onAxis("number") }, splitLine: { lineStyle: { color: tone("line") } } },
    tooltip: byPoint(spec, frame), dataZoom: zooms({ panels: [0] }, state), series,
  };
}

/** Drawn anew where the reader has come closer or gone further away, the zoom staying in the reader's hand. */
function treeView(spec, state, figure) {
  const { near } = inView(spec, state);
  if (near || state.near) figure.chart.setOption(treeParts(spec, state), { replaceMerge: ["series"] });
  state.near = near;
}

/** Bring the leaves from one to another into view. */
function lookAt({ chart, spec, state }, from, to) {
  const span = spec.frames[state.frame].leaves.length + 1;
  const share = (leaf) => Math.min(100, Math.max(0, (100 * (leaf + 1)) / span));
  chart.dispatchAction({ type: "dataZoom", start: share(from), end: share(to) }, { flush: true });
}

/** The map's tools, and a list of clusters to look at closely. */
function treeTools(spec, state, redraw, figure) {
  const choice = make("select", { "aria-label": "Look closely at", onchange: (event) => {
    const frame = spec.frames[state.frame], group = event.currentTarget.value;
    const at = frame.leaves.flatMap((i, leaf) => String(frame.groups[i]) === group ? [leaf] : []);
    if (group && at.length) lookAt(figure, at[0] - 1, at.at(-1) + 1);
    else lookAt(figure, -1, frame.leaves.length);
  } }, make("option", { value: "" }, "All clusters"));
  const groups = new Set(spec.frames.flatMap((frame) => frame.groups).filter((group) => group !== null));
  for (const group of [...groups].sort((a, b) => a - b))
    choice.append(make("option", { value: String(group) }, `${spec.group} ${group}`));
  return [...pointTools(spec, state, redraw, figure), choice];
}
