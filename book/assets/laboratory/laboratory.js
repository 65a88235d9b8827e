// The workbench: controls → a run in a thread of its own → drawings, a table, and answers to the
// questions below it. The state is the setting; the address keeps what differs from the opening one.

import {FeedForward} from "../trainer/network.js";
import {addNoise, initialize, sampleNoise, sampleUnion, stream} from "../trainer/data.js";
import {matrix} from "../trainer/linear.js";
import {curves, direction, map, sines} from "./draw.js";

const LINES = [
  { name: "top 7", kind: "r1", js: "shareR1", python: "share_r1" },
  { name: "top 6", kind: "r", js: "shareR", python: "share_r" },
  { name: "negative", kind: "negative", js: "negative", python: "negative_share" },
  { name: "loss", kind: "loss", js: "loss", python: "loss" },
];

const numbers = (text, Type) => {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Type(bytes.buffer);
};
const written = (v) => (v === undefined || v === null ? "–" : v.toFixed(v < 0.1 ? 3 : 2));

// root: the workbench's element; source: the worker's script.
export function start(root, source) {
  const D = JSON.parse(root.querySelector("script[type='application/json']").textContent);
  const $ = (selector) => root.querySelector(selector);
  const n = D.sizes.subspaces * D.sizes.points, { ambient: m } = D.sizes;
  const axes = Object.fromEntries(D.axes.map((axis) => [axis.key, axis]));
  const opening = Object.fromEntries(D.axes.map((axis) => [axis.key, axis.values[axis.start]]));
  const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  let state = { ...opening }, draw = 1, frames = [], ghost, id = 0, mode = "still", asked, waiting;

  // --- the address -------------------------------------------------------------------------------
  function keep() {
    try {
      const url = new URL(location.href);
      for (const key of [...D.axes.map((axis) => axis.key), "seed"]) url.searchParams.delete(key);
      for (const { key } of D.axes) if (state[key] !== opening[key]) url.searchParams.set(key, state[key]);
      if (draw > 1) url.searchParams.set("seed", draw);
      history.replaceState(null, "", url);
    } catch { /* a page from a file may not */ }
  }
  function recall() {
    const told = new URLSearchParams(location.search);
    for (const { key, values } of D.axes) {
      const found = values.find((value) => String(value) === told.get(key));
      if (found !== undefined) state[key] = found;
    }
    draw = Math.max(1, Math.min(9999, Math.floor(Number(told.get("seed"))) || 1));
  }

  // --- a run -------------------------------------------------------------------------------------
  const rate = () => state.rate * D.rates[state.optimizer === "gd" && state.bias ? "gd bias" : state.optimizer];

  // Draw 1 is the first of the stored trials, from Python; the others are made here.
  const first = {
    clean: matrix(m, n, numbers(D.first.clean, Float32Array)),
    noise: matrix(m, n, numbers(D.first.noise, Float32Array)),
  };
  function problem() {
    const clean = draw === 1 ? first.clean : sampleUnion(D.sizes, draw);
    const Z = draw === 1 ? first.noise : sampleNoise(m, n, draw);
    const widths = [m, ...Array(state.depth).fill(D.hidden), m];
    const { activation, bias, optimizer, init } = state;
    const draws = (name) => {
      if (draw > 1) return stream(draw, name);
      const uniform = numbers(D.first.weights[name], Float32Array);
      let i = 0;
      return () => uniform[i++];
    };
    const shapes = new FeedForward(widths, { activation, bias }).shapes();
    return {
      ...addNoise(clean, Z, state.noise, state.scale),
      rank: D.rank, params: initialize(shapes, init, draws), widths, activation, bias, optimizer,
      rate: rate(), normalize: "data",
    };
  }
  function begin(paused) {
    frames = [];
    setMode(paused ? "still" : "going");
    worker.postMessage({ do: "start", id: ++id, run: problem(), steps: D.steps, paused });
  }
  worker.onmessage = ({ data }) => {
    if (data.id !== id) return; // of a run that the next move has overtaken
    frames.push(data.frame);
    if (data.done) setMode("done");
    waiting ??= requestAnimationFrame(() => { waiting = undefined; show(); });
  };

  // --- what is stored ----------------------------------------------------------------------------
  const medians = Object.fromEntries(
    Object.entries(D.stored.medians).map(([name, text]) => [name, numbers(text, Uint16Array)]),
  );
  function onGrid(setting) {
    if (setting.scale !== 1 || setting.rate !== 1) return -1;
    let at = 0;
    for (const [key, values] of Object.entries(D.grid)) {
      const k = values.indexOf(setting[key]);
      if (k < 0) return -1;
      at = at * values.length + k;
    }
    return at;
  }
  const value = (raw) => (raw === undefined || raw === D.stored.none ? undefined : raw * D.stored.unit);
  function storedCurve(name, setting = state) {
    const at = onGrid(setting), marks = D.stored.marks;
    if (at < 0) return [];
    const found = marks.map((t, k) => [t, value(medians[name][at * marks.length + k])]);
    return found.filter(([, v]) => v !== undefined);
  }
  function storedEnd(name, setting = state) {
    const extra = D.extra.find((one) => same({ ...opening, ...one.setting }, setting));
    if (extra) return extra.medians[name];
    if (!LINES.some((line) => line.python === name))
      return onGrid(setting) < 0 ? undefined : value(medians[name][onGrid(setting)]);
    return storedCurve(name, setting).at(-1)?.[1];
  }
  const same = (a, b) => D.axes.every(({ key }) => a[key] === b[key]);

  // --- what is shown -----------------------------------------------------------------------------
  const good = (list) => list.filter((frame) => !frame.diverged);
  const points = (list, js) => good(list).map((frame) => [frame.step, frame[js]]);
  function show() {
    const now = good(frames).at(-1), last = frames.at(-1), before = ghost && good(ghost.frames).at(-1);
    root.dataset.step = last?.step ?? 0;
    root.dataset.drawn = Number(root.dataset.drawn ?? 0) + 1;
    if (now) {
      map($(".wb-map-r"), now.V, n, D.rank, D.sizes.subspaces);
      map($(".wb-map-r1"), now.V, n, D.rank + 1, D.sizes.subspaces);
      sines($(".wb-sines-r"), now.sinesR, before?.sinesR);
      sines($(".wb-sines-r1"), now.sinesR1, before?.sinesR1);
      direction($(".wb-lost"), now.lost, D.sizes.subspaces);
      direction($(".wb-gained"), now.gained, D.sizes.subspaces);
      $(".wb-sine").textContent = now.sinesR[0].toFixed(2);
    }
    curves($(".wb-curves"), LINES.map(({ name, kind, js, python }) => ({
      name, kind, points: points(frames, js), ghost: ghost ? points(ghost.frames, js) : [],
      stored: storedCurve(python),
    })), D.steps);
    for (const { js, python } of LINES) row(python, now?.[js], before?.[js]);
    row("accuracy");
    row("certified");
    const lost = last?.diverged ? "Diverged: the loss is no longer a number. " : "";
    $(".wb-step").textContent = `${lost}Step ${last?.step ?? 0} of ${D.steps}`;
    $(".wb-bar").value = last?.step ?? 0;
    $(".wb-before").textContent = ghost ? `Faint curves and ticks: before, with ${difference(ghost)}.` : "";
    if (mode === "done") {
      $(".wb-said").textContent = lost || `Trained. In the top 7: ${written(now.shareR1)}, in the top 6: ${written(now.shareR)}, loss ${written(now.loss)}.`;
      answer();
    }
  }
  function row(name, now, before) {
    const cells = $(`tr[data-row="${name}"]`).querySelectorAll("td");
    [now, before, storedEnd(name)].forEach((v, k) => (cells[k].textContent = written(v)));
  }
  function difference(old) {
    const changed = D.axes.filter(({ key }) => old.state[key] !== state[key]);
    const words = changed.map(({ key, label }) => `${label.toLowerCase()} ${word(key, old.state[key])}`);
    if (old.draw !== draw) words.push(`seed ${old.draw}`);
    return words.join(", ") || "the same setting";
  }
  const word = (key, v) => axes[key].words[axes[key].values.indexOf(v)];

  // --- controls ----------------------------------------------------------------------------------
  function setMode(now) {
    mode = root.dataset.mode = now;
    const going = now === "going";
    $(".wb-go").textContent = going ? "⏸ Pause" : now === "done" ? "▶ Train again" : "▶ Train";
    $(".wb-one").disabled = now === "done";
  }
  function fill() {
    for (const { key, values, kind } of D.axes) {
      const box = $(`[data-axis="${key}"]`), k = values.indexOf(state[key]);
      if (kind === "range") {
        const range = box.querySelector("input"), text = key === "rate" ? `${Number(rate().toPrecision(2))}` : word(key, state[key]);
        range.value = k;
        range.setAttribute("aria-valuetext", text);
        box.querySelector("output").textContent = text;
      } else box.querySelectorAll("input")[k].checked = true;
    }
    $(".wb-draw").textContent = draw === 1 ? "Seed 1: the first of the stored trials." : `Seed ${draw}: drawn here, not stored.`;
    $(".wb-first").disabled = draw === 1;
    $(".wb-opening").disabled = same(state, opening);
  }
  let timer, wanted = false; // wanted: whether a move trains at once
  function move(next, nextDraw = draw, train = wanted) {
    if (good(frames).length > 1) ghost = { state: { ...state }, draw, frames };
    state = { ...state, ...next };
    draw = nextDraw;
    frames = [];
    fill();
    keep();
    clearTimeout(timer);
    id++; // what still comes of the old run is dropped
    timer = setTimeout(begin, 60, !train); // a slider that is drawn across starts one run, not ten
  }
  root.querySelectorAll("[data-axis]").forEach((box) => {
    const { key, values } = axes[box.dataset.axis];
    box.addEventListener("input", (event) => move({ [key]: values[Number(event.target.value)] }));
  });
  $(".wb-go").addEventListener("click", () => {
    wanted = mode !== "going";
    if (mode === "going") {
      worker.postMessage({ do: "pause" });
      setMode("paused");
    } else if (mode === "done") begin(false);
    else {
      worker.postMessage({ do: "go" });
      setMode("going");
    }
  });
  $(".wb-one").addEventListener("click", () => {
    wanted = false;
    setMode("paused");
    worker.postMessage({ do: "step" });
  });
  $(".wb-reset").addEventListener("click", () => {
    wanted = false;
    begin(true);
  });
  $(".wb-new").addEventListener("click", () => move({}, draw + 1));
  $(".wb-first").addEventListener("click", () => move({}, 1));
  $(".wb-opening").addEventListener("click", () => move(opening));

  // --- questions ---------------------------------------------------------------------------------
  const said = {};
  try { Object.assign(said, JSON.parse(sessionStorage.getItem("laboratory") ?? "{}")); } catch { /* forget */ }
  const cards = [...document.querySelectorAll("[data-question]")];
  cards.forEach((card, q) => {
    const go = card.querySelector("button"), { setting } = D.questions[q];
    const radios = [...card.querySelectorAll("input")];
    card.classList.add("live");
    go.disabled = said[q] === undefined;
    if (radios[said[q]]) radios[said[q]].checked = true;
    radios.forEach((radio, k) => {
      radio.disabled = false;
      radio.addEventListener("input", () => {
        said[q] = k;
        go.disabled = false;
        try { sessionStorage.setItem("laboratory", JSON.stringify(said)); } catch { /* forget */ }
      });
    });
    go.addEventListener("click", () => {
      asked = q;
      wanted = true;
      move({ ...opening, ...setting }, 1, true);
      root.scrollIntoView({ block: "start" });
      $(".wb-asked").textContent = `Question ${q + 1}: ${D.questions[q].text}`;
    });
  });
  function option(question, v) {
    return question.cuts.filter((cut) => v >= cut).length;
  }
  function answer() {
    const question = D.questions[asked];
    if (!question || !same({ ...opening, ...question.setting }, state)) return;
    const line = LINES.find(({ python }) => python === question.quantity);
    const live = line && good(frames).at(-1)?.[line.js], known = storedEnd(question.quantity);
    const right = option(question, known), mine = said[asked];
    const card = cards[asked], out = card.querySelector(".wb-outcome");
    const run = live === undefined ? "This page does not compute certificates." :
      `This run: ${written(live)}${option(question, live) === right ? "" : " (one run can differ)"}.`;
    const verdict = mine === right ? "As you predicted." : `You predicted: ${question.options[mine]}.`;
    out.textContent = `${run} Median of ${D.trials} stored trials: ${written(known)}, ${question.options[right]}. ${verdict}`;
    card.dataset.right = mine === right;
    card.querySelector("details").open = true;
    $(".wb-asked").textContent = `Question ${asked + 1}. ${out.textContent}`;
  }

  recall();
  fill();
  root.classList.add("live");
  begin(true);
}
