// A feed-forward autoencoder, its loss and its gradient: Y_l = σ(W_l Y_{l−1} + b_l 1ᵀ), Y_0 = X,
// and the readout X̂ = W_{d+1} Y_d + b_{d+1} 1ᵀ without σ. As `sl.FeedForward` and `sl.train`.

import { matrix, product, productNT, productTN, squares } from "./linear.js";

// erf x = 2/√π e^{−x²} Σ_k 2^k x^{2k+1} / (1·3·…·(2k+1)), all terms of one sign, for |x| < 3;
// beyond, 1 − erfc x by the continued fraction
// √π e^{x²} erfc x = 1/(x + ½/(x + 1/(x + 3⁄2/(x + …)))).
export function erf(x) {
  const a = Math.abs(x);
  if (a > 6) return Math.sign(x);
  let value;
  if (a < 3) {
    let term = a, sum = a;
    for (let k = 1; term > 1e-17 * sum; k++) sum += term *= (2 * a * a) / (2 * k + 1);
    value = (2 / Math.sqrt(Math.PI)) * Math.exp(-a * a) * sum;
  } else {
    let f = a;
    for (let k = 60; k > 0; k--) f = a + k / 2 / f;
    value = 1 - Math.exp(-a * a) / (Math.sqrt(Math.PI) * f);
  }
  return x < 0 ? -value : value;
}

const Phi = (z) => (1 + erf(z / Math.SQRT2)) / 2; // the normal distribution and its density
const phi = (z) => Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
const logistic = (z) => 1 / (1 + Math.exp(-z));

// name → [σ, σ′]. At a kink σ′ is PyTorch's: 0 for ReLU and |z|, 0.01 for the leaky ReLU.
export const ACTIVATIONS = {
  identity: [(z) => z, () => 1],
  relu: [(z) => (z > 0 ? z : 0), (z) => (z > 0 ? 1 : 0)],
  leaky_relu: [(z) => (z > 0 ? z : 0.01 * z), (z) => (z > 0 ? 1 : 0.01)],
  abs: [Math.abs, Math.sign],
  gelu: [(z) => z * Phi(z), (z) => Phi(z) + z * phi(z)],
  silu: [(z) => z * logistic(z), (z) => logistic(z) * (1 + z * (1 - logistic(z)))],
  tanh: [Math.tanh, (z) => 1 - Math.tanh(z) ** 2],
};

export class FeedForward {
  // widths: [m, hidden …, m]. Parameters: {W1, b1, W2, …}, W_l of size widths[l] × widths[l−1],
  // b_l a column.
  constructor(widths, { activation = "relu", bias = false } = {}) {
    Object.assign(this, { widths, activation, bias, depth: widths.length - 2 });
    [this.sigma, this.slope] = ACTIVATIONS[activation];
    this.room = []; // matrices that every step needs again
  }

  shapes() {
    const found = {};
    for (let l = 1; l < this.widths.length; l++) {
      found[`W${l}`] = [this.widths[l], this.widths[l - 1]];
      if (this.bias) found[`b${l}`] = [this.widths[l], 1];
    }
    return found;
  }

  // The hidden layers, each {pre: W Y + b 1ᵀ, post: σ(pre)}, and the output.
  forward(params, X) {
    const layers = [];
    let Y = X, out;
    for (let l = 1; l <= this.depth + 1; l++) {
      out = product(params[`W${l}`], Y, this.own(`pre${l}`, this.widths[l], X.cols));
      if (this.bias) addColumn(out, params[`b${l}`]);
      if (l > this.depth) break;
      Y = this.own(`post${l}`, out.rows, out.cols);
      for (let i = 0; i < Y.data.length; i++) Y.data[i] = this.sigma(out.data[i]);
      layers.push({ pre: out, post: Y });
    }
    return { layers, output: out };
  }

  // L = ‖X̂ − X‖_F² / scale and its gradient, backwards. With G_l the derivative of L by the
  // pre-activation of layer l (by the output, where l = d + 1: G = 2 (X̂ − X) / scale):
  //   ∂L/∂W_l = G_l Y_{l−1}ᵀ,   ∂L/∂b_l = G_l 1,   G_{l−1} = (W_lᵀ G_l) ∘ σ′(pre_{l−1}).
  gradient(params, X, scale) {
    const { layers, output: G0 } = this.forward(params, X), grads = {};
    let G = G0, loss = 0;
    for (let i = 0; i < G.data.length; i++) {
      const error = G.data[i] - X.data[i];
      loss += error * error;
      G.data[i] = (2 / scale) * error;
    }
    for (let l = this.depth + 1; l >= 1; l--) {
      const W = params[`W${l}`], Y = l > 1 ? layers[l - 2].post : X;
      grads[`W${l}`] = productNT(G, Y, this.own(`dW${l}`, W.rows, W.cols));
      if (this.bias) grads[`b${l}`] = rowSums(G, this.own(`db${l}`, W.rows, 1));
      if (l === 1) break;
      const next = productTN(W, G, this.own(`G${l}`, W.cols, G.cols)), pre = layers[l - 2].pre;
      for (let i = 0; i < next.data.length; i++) next.data[i] *= this.slope(pre.data[i]);
      G = next;
    }
    return { loss: loss / scale, grads };
  }

  loss(params, X, scale) {
    const { output } = this.forward(params, X);
    let loss = 0;
    for (let i = 0; i < X.data.length; i++) loss += (output.data[i] - X.data[i]) ** 2;
    return loss / scale;
  }

  own(name, rows, cols) {
    const known = this.room[name];
    if (known?.rows === rows && known.cols === cols) return known;
    return (this.room[name] = matrix(rows, cols));
  }
}

function addColumn(A, b) {
  for (let i = 0; i < A.rows; i++)
    for (let j = 0; j < A.cols; j++) A.data[i * A.cols + j] += b.data[i];
}

function rowSums(A, sums) {
  for (let i = 0; i < A.rows; i++) {
    let sum = 0;
    for (let j = 0; j < A.cols; j++) sum += A.data[i * A.cols + j];
    sums.data[i] = sum;
  }
  return sums;
}

// What the loss is divided by: ‖X‖_F² with "data", so that a rate means the same at every size of
// the data; 1 with "sum".
export function scaleOf(X, normalize = "data") {
  return normalize === "data" ? squares(X) : 1;
}
