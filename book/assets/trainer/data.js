// Data and first weights drawn in the page, as `sl.sample_union`, `sl.add_noise` and `Network.init`
// describe them, from a generator of this file's own: other numbers than Python's for the same seed.

import { matrix, product, squares } from "./linear.js";

// Uniform numbers in [0, 1): mulberry32, 32 bits of state.
export function uniform(seed) {
  let s = seed >>> 0;
  return () => {
    s = (s + 0x6d2b79f5) | 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

// N(0, 1) by Box and Muller.
export function normal(draw) {
  return Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());
}

// Streams do not meet: each purpose has its own seed, a hash (FNV-1a) of the number and the name.
export function stream(seed, purpose) {
  let hash = 0x811c9dc5;
  for (const c of `${seed} ${purpose}`) hash = Math.imul(hash ^ c.codePointAt(0), 0x01000193);
  return uniform(hash);
}

// X* = [U_1 … U_K] blockdiag(V_k): K random subspaces of R^m of dimension d with orthonormal U_k,
// points with coefficients N(0, 1/m); cluster after cluster.
export function sampleUnion({ ambient, subspaces, dim, points }, seed) {
  const n = subspaces * points, clean = matrix(ambient, n);
  for (let k = 0; k < subspaces; k++) {
    const draw = stream(seed, `basis ${k}`), U = [];
    for (let c = 0; c < dim; c++) {
      const u = Float64Array.from({ length: ambient }, () => normal(draw));
      for (const w of [...U, ...U]) {
        const along = u.reduce((sum, x, i) => sum + x * w[i], 0);
        u.forEach((x, i) => (u[i] = x - along * w[i]));
      }
      const length = Math.hypot(...u);
      U.push(u.map((x) => x / length));
    }
    const coefficient = stream(seed, `coefficients ${k}`);
    for (const u of U)
      for (let j = 0; j < points; j++) {
        const v = normal(coefficient) / Math.sqrt(ambient);
        for (let i = 0; i < ambient; i++) clean.data[i * n + k * points + j] += u[i] * v;
      }
  }
  return clean;
}

// N(0, 1) for every entry of the data.
export function sampleNoise(rows, cols, seed) {
  const draw = stream(seed, "noise");
  return matrix(rows, cols, Float64Array.from({ length: rows * cols }, () => normal(draw)));
}

// factor · (X* + Z): E‖z_j‖² = variance · mean_j ‖x*_j‖².
export function addNoise(clean, Z, variance, factor = 1) {
  const unit = Math.sqrt((variance * squares(clean)) / clean.data.length);
  const scaled = (f) => matrix(clean.rows, clean.cols, clean.data.map(f));
  return { X: scaled((x, i) => factor * (x + unit * Z.data[i])), clean: scaled((x) => factor * x) };
}

// Scheme → the interval of a weight with fan-in f. "nonnegative-first" is for the first weight only.
export const INTERVALS = {
  usual: (f) => [-(f ** -0.5), f ** -0.5],
  "nonnegative-first": () => [0, 1],
  "nonnegative-scaled": (f) => [0, f ** -0.5],
};

// First weights from uniform numbers, draws(name) giving a function that draws; biases are zero.
export function initialize(shapes, scheme, draws) {
  const params = {};
  for (const [name, [rows, cols]] of Object.entries(shapes)) {
    params[name] = matrix(rows, cols);
    if (name.startsWith("b")) continue;
    const kind = scheme === "nonnegative-first" && name !== "W1" ? "usual" : scheme;
    const [low, high] = INTERVALS[kind](cols), draw = draws(name);
    for (let i = 0; i < rows * cols; i++) params[name].data[i] = low + (high - low) * draw();
  }
  return params;
}

// σ(WX): a layer with W drawn from N(0, 1/m) and no bias, for a first look at a random one.
export function randomLayer(X, width, sigma, seed) {
  const draw = stream(seed, "layer");
  const W = matrix(width, X.rows);
  for (let i = 0; i < W.data.length; i++) W.data[i] = normal(draw) / Math.sqrt(X.rows);
  const Y = product(W, X);
  for (let i = 0; i < Y.data.length; i++) Y.data[i] = sigma(Y.data[i]);
  return Y;
}
