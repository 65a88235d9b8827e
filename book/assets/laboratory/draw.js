// The workbench's drawings: projectors as maps, directions and sines as strips, curves that grow.

export const DARKEST = 0.16; // an entry of |P| this large has the full colour
const GROUND = [255, 255, 255], FULL = [0, 114, 178];
const SVG = "http:" + "//www.w3.org/2000/svg"; // a name, not an address

export function tag(name, attributes = {}, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

// |P| with P = Σ v_i v_iᵀ over the first r rows of V (as r·n numbers), clusters parted by lines.
export function map(canvas, V, n, r, clusters) {
  const g = canvas.getContext("2d"), side = canvas.width;
  const small = document.createElement("canvas");
  small.width = small.height = n;
  const image = new ImageData(n, n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) {
      let entry = 0;
      for (let k = 0; k < r; k++) entry += V[k * n + i] * V[k * n + j];
      const full = Math.sqrt(Math.min(1, Math.abs(entry) / DARKEST)), at = 4 * (i * n + j);
      for (let c = 0; c < 3; c++) image.data[at + c] = GROUND[c] + full * (FULL[c] - GROUND[c]);
      image.data[at + 3] = 255;
    }
  small.getContext("2d").putImageData(image, 0, 0);
  g.imageSmoothingEnabled = false;
  g.drawImage(small, 0, 0, side, side);
  g.fillStyle = "rgba(0, 0, 0, .55)";
  for (let k = 1; k < clusters; k++) {
    const at = Math.round((k * side) / clusters);
    g.fillRect(at - 1, 0, 2, side);
    g.fillRect(0, at - 1, side, 2);
  }
}

// One number for each point as a bar up or down, coloured by cluster.
export function direction(svg, values, clusters) {
  const n = values.length, each = n / clusters, top = Math.max(...values.map(Math.abs)) || 1;
  const ups = values.reduce((sum, x) => sum + x ** 3, 0) < 0 ? -1 : 1; // its sign means nothing
  const paths = Array.from({ length: clusters }, () => "");
  values.forEach((x, j) => {
    paths[Math.floor(j / each)] += `M${j + 0.5} 12v${((-ups * 11 * x) / top).toFixed(2)}`;
  });
  svg.replaceChildren(
    tag("path", { d: `M0 12H${n}`, class: "base" }),
    ...paths.map((d, k) => tag("path", { d, class: `cluster-${k}` })),
  );
}

// A bar for each sine, between 0 and 1; those of the setting before as ticks.
export function sines(svg, values, before) {
  const each = 100 / 7, at = (k) => k * each + 1.5;
  svg.replaceChildren(
    tag("path", { d: "M0 1H100M0 25H100", class: "base" }),
    ...[...values].map((s, k) =>
      tag("rect", { x: at(k), y: 25 - 24 * s, width: each - 3, height: 24 * s, class: "sine" })),
    ...[...(before ?? [])].map((s, k) =>
      tag("path", { d: `M${at(k) - 1} ${25 - 24 * s}h${each - 1}`, class: "ghost" })),
  );
}

const BOX = { left: 30, right: 290, top: 8, bottom: 236, high: 1.1, width: 420 };

// curves: [{name, kind, points: [[t, y]], ghost: [[t, y]], stored: [[t, y]]}]; x is log(1 + t).
export function curves(svg, list, steps) {
  const x = (t) => BOX.left + ((BOX.right - BOX.left) * Math.log1p(t)) / Math.log1p(steps);
  const y = (v) => BOX.bottom - ((BOX.bottom - BOX.top) * Math.min(v, BOX.high)) / BOX.high;
  const place = ([t, v]) => `${x(t).toFixed(1)} ${y(v).toFixed(1)}`;
  const line = (points) => (points.length ? `M${points.map(place).join("L")}` : "");
  const made = [];
  for (const v of [0, 0.5, 1]) {
    made.push(tag("path", { d: `M${BOX.left} ${y(v)}H${BOX.right}`, class: "base" }));
    made.push(tag("text", { x: BOX.left - 5, y: y(v) + 4, class: "tick end" }, String(v)));
  }
  for (const t of [0, 1, 10, 100, 1000].filter((s) => s <= steps))
    made.push(tag("text", { x: x(t), y: BOX.bottom + 16, class: "tick middle" }, String(t)));
  const middle = { x: (BOX.left + BOX.right) / 2, y: BOX.bottom + 33, class: "tick middle" };
  made.push(tag("text", middle, "steps of training"));
  for (const { kind, ghost } of list)
    if (ghost?.length) made.push(tag("path", { d: line(ghost), class: `curve ghost ${kind}` }));
  for (const { kind, points, stored } of list) {
    made.push(tag("path", { d: line(points), class: `curve ${kind}` }));
    for (const [t, v] of stored ?? [])
      made.push(tag("circle", { cx: x(t), cy: y(v), r: 2.6, class: `median ${kind}` }));
  }
  made.push(...labels(list, x, y));
  svg.replaceChildren(...made);
}

// Names stand at the ends of their curves, pushed apart where two ends meet.
function labels(list, x, y) {
  const ends = list.filter(({ points }) => points.length).map(({ name, kind, points }) => {
    const [t, v] = points[points.length - 1];
    return { kind, at: x(t), y: y(v), text: `${name} ${v.toFixed(v < 0.1 ? 3 : 2)}` };
  });
  ends.sort((a, b) => a.y - b.y);
  ends.forEach((end, i) => (end.to = Math.max(end.y, i ? ends[i - 1].to + 15 : 0)));
  for (let i = ends.length - 1, limit = BOX.bottom; i >= 0; i--, limit -= 15)
    ends[i].to = Math.min(ends[i].to, limit);
  return ends.flatMap(({ kind, at, y: from, to, text }) => [
    tag("path", { d: `M${at + 2} ${from}L${at + 9} ${to}`, class: "lead" }),
    tag("text", { x: at + 11, y: to + 4, class: `name ${kind}` }, text),
  ]);
}
