// The live figure of the landing page: |P(Y)| of a layer that the reader chooses, trained here.

import { addNoise } from "../trainer/data.js";
import { firstRows, matrix, product, rightVectors, share } from "../trainer/linear.js";
import { clustersFound } from "./clusters.js";

const STEPS = 1000, RATE = 0.003, DARKEST = 0.16; // an entry this large has the full colour
const QUIET = matchMedia("(prefers-reduced-motion: reduce)");

// Data, noise and first weights are those of the laboratory's first trial, as 32-bit numbers.
function unpack({ rows, cols, data }) {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  return matrix(rows, cols, new Float32Array(bytes.buffer));
}

export function start(box, makeWorker) {
  const given = JSON.parse(box.querySelector("script[type='application/json']").textContent);
  const basis = unpack(given.basis), noise = unpack(given.noise);
  const clean = product(basis, unpack(given.coefficients)), rank = given.rank;
  const params = Object.fromEntries(Object.entries(given.params).map(([k, p]) => [k, unpack(p)]));
  const n = clean.cols, K = given.clusters, labels = Array.from({ length: n }, (_, i) => Math.floor((i * K) / n));
  const truth = rightVectors(clean, rank).V;
  const widths = [clean.rows, params.W1.rows, clean.rows];
  const find = (name) => box.querySelector(`.hero-${name}`);
  const canvas = find("canvas"), slider = box.querySelector("input[type=range]");
  const state = { layer: "data", more: false, V: null, steps: 0, running: false };
  let worker, id = 0, waiting = 0, due = 0;

  const variance = () => 10 ** (Number(slider.value) / 10);
  const noisy = () => addNoise(clean, noise, variance()).X;

  // Layers that need no training: V, the r + 1 leading right singular vectors.
  function look() {
    const X = noisy();
    let Y = X;
    if (state.layer !== "data") Y = product(params.W1, X);
    if (state.layer === "relu") Y.data.forEach((y, i) => (Y.data[i] = Math.max(0, y)));
    state.V = rightVectors(Y, rank + 1).V;
  }

  function train() {
    state.running = true;
    state.steps = 0;
    worker ??= listen(makeWorker());
    const run = {
      X: noisy(), clean, rank, params, widths, activation: "relu", bias: true,
      optimizer: "adam", rate: RATE, normalize: "data",
    };
    worker.postMessage({ do: "start", id: ++id, run, steps: STEPS });
  }

  function listen(made) {
    made.onmessage = ({ data }) => {
      if (data.id !== id || state.layer !== "train") return; // overtaken by another choice
      state.V = matrix(rank + 1, n, data.frame.V);
      state.steps = data.frame.step;
      state.running = !data.done;
      if (data.done || !QUIET.matches) soon();
    };
    return made;
  }

  function change() {
    clearTimeout(waiting);
    if (state.layer === "train") {
      id++; // whatever still comes belongs to the last choice
      state.running = true;
      waiting = setTimeout(train, 120);
    } else {
      state.steps = 0;
      state.running = false;
      look();
    }
    soon();
  }

  const soon = () => (due ||= requestAnimationFrame(draw));

  function draw() {
    due = 0;
    const V = state.more ? state.V : firstRows(state.V, rank);
    paint(V);
    const kept = share(truth, V), found = clustersFound(V, labels, K);
    const write = (name, text) => (find(name).textContent = text);
    write("kept", percent(kept));
    write("found", percent(found));
    write("steps", state.layer === "train" ? String(state.steps) : "–");
    const strength = `${Number((100 * variance()).toPrecision(2))} % of the signal`;
    write("noise", strength);
    slider.setAttribute("aria-valuetext", strength);
    const said = sentence(kept);
    for (const p of box.querySelectorAll(".hero-say > *")) p.hidden = p.dataset.when !== said;
    const now = `${box.querySelector("[data-layer][aria-pressed=true]").textContent}, noise ${strength}`;
    canvas.setAttribute(
      "aria-label",
      `Projector of the layer (${now}, ${state.more ? rank + 1 : rank} directions): ` +
        `${percent(kept)} of the clean structure kept, ${percent(found)} of the points in the right cluster`,
    );
    box.dataset.state = `${state.layer} ${state.more ? "more" : "r"} ${state.running ? "running" : "done"}`;
  }

  // Which of the sentences on the page is true now.
  function sentence(kept) {
    const { layer } = state, more = state.more ? "-more" : "";
    if (state.running) return "train-running";
    if (layer !== "train") return layer + (kept < (layer === "relu" ? 0.6 : 0.9) ? "-noisy" : more);
    return layer + (share(truth, state.V) < 0.95 ? "-noisy" : "") + more;
  }

  // With one direction more the constant one is in, an even veil over all pairs: without it,
  // (I − J) P (I − J) with J = 11ᵀ/n, the gain is seen.
  function paint(V) {
    const centred = matrix(V.rows, n, V.data.slice());
    if (state.more)
      for (let i = 0; i < V.rows; i++) {
        const row = centred.data.subarray(i * n, i * n + n), mean = row.reduce((s, v) => s + v, 0) / n;
        for (let j = 0; j < n; j++) row[j] -= mean;
      }
    const context = canvas.getContext("2d"), image = context.createImageData(n, n);
    const [red, green, blue] = colour();
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++) {
        let entry = 0;
        for (let k = 0; k < V.rows; k++) entry += centred.data[k * n + i] * centred.data[k * n + j];
        image.data.set([red, green, blue, 255 * Math.sqrt(Math.min(1, Math.abs(entry) / DARKEST))], 4 * (i * n + j));
      }
    context.putImageData(image, 0, 0);
  }

  function colour() {
    const text = getComputedStyle(canvas).color.match(/[\d.]+/g).map(Number);
    return text.slice(0, 3);
  }

  for (const button of box.querySelectorAll("button"))
    button.addEventListener("click", () => {
      for (const other of button.parentNode.children) other.setAttribute("aria-pressed", other === button);
      if (button.dataset.layer) {
        state.layer = button.dataset.layer;
        change();
      } else {
        state.more = button.dataset.rank === "more";
        soon();
      }
    });
  slider.addEventListener("input", change);
  new MutationObserver(soon).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  change();
  box.classList.add("live");
}

const percent = (share) => `${Math.round(100 * share)} %`;
