// One run: data, network and optimiser together, a step at a time, and what is measured on the way.

import { firstRows, matrix, rightVectors, share, sines } from "./linear.js";
import { FeedForward, scaleOf } from "./network.js";
import { OPTIMIZERS } from "./optimizers.js";

export class Run {
  // X, clean: {rows, cols, data}; rank: r, of the clean data; params: {W1: {rows, cols, data}, …}.
  constructor({ X, clean, rank, params, widths, activation, bias, optimizer, rate, normalize }) {
    this.network = new FeedForward(widths, { activation, bias });
    this.X = matrix(X.rows, X.cols, X.data);
    this.scale = scaleOf(this.X, normalize);
    this.truth = rightVectors(matrix(clean.rows, clean.cols, clean.data), rank).V; // rows span row(X*)
    this.params = {};
    for (const [name, p] of Object.entries(params)) // a copy: training works in place
      this.params[name] = matrix(p.rows, p.cols, Float64Array.from(p.data));
    this.update = OPTIMIZERS[optimizer](rate);
    Object.assign(this, { rank, step: 0, diverged: false });
  }

  advance() {
    const { loss, grads } = this.network.gradient(this.params, this.X, this.scale);
    if (!Number.isFinite(loss)) this.diverged = true;
    else this.update(++this.step, this.params, grads);
    return !this.diverged;
  }

  // The last hidden layer Y now. V: its r + 1 leading right singular vectors, as rows, so that
  // P_r(Y) and P_{r+1}(Y) are sums over its rows. shareR, shareR1: the part of P(X*) in them.
  // sinesR, sinesR1: of the angles from row(X*). lost: the direction of row(X*) that is farthest
  // from P_r(Y); gained: the direction of P_r(Y) that is farthest from row(X*).
  measure() {
    const { layers } = this.network.forward(this.params, this.X);
    const { pre, post } = layers[layers.length - 1];
    const loss = this.network.loss(this.params, this.X, this.scale);
    this.diverged ||= !(Number.isFinite(loss) && post.data.every(Number.isFinite));
    if (this.diverged) return { step: this.step, diverged: true };
    const { V } = rightVectors(post, this.rank + 1), top = firstRows(V, this.rank);
    const from = sines(this.truth, top), n = V.cols;
    let negative = 0, dead = 0;
    for (const z of pre.data) negative += z < 0;
    for (let i = 0; i < post.rows; i++)
      dead += post.data.subarray(i * n, (i + 1) * n).every((y) => y === 0);
    return {
      step: this.step,
      diverged: false,
      loss,
      negative: negative / pre.data.length,
      dead: dead / post.rows,
      shareR: share(this.truth, top),
      shareR1: share(this.truth, V),
      sinesR: from.sines,
      sinesR1: sines(this.truth, V).sines,
      lost: from.directions.data.slice(0, n),
      gained: sines(top, this.truth).directions.data.slice(0, n),
      V: V.data.slice(),
    };
  }
}

// The steps that are measured: every one up to 10, then about 4 % apart, and the last.
export function marks(steps) {
  const found = [];
  for (let t = 0; t < steps; t = Math.max(t + 1, Math.round(1.04 * t))) found.push(t);
  return [...found, steps];
}
