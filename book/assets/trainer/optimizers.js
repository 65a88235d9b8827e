// Gradient descent and Adam, in place, as `sl.train` steps: t counts from 1.

// θ ← θ − η g
export function gradientDescent(rate) {
  return (t, params, grads) => {
    for (const [name, g] of Object.entries(grads)) {
      const theta = params[name].data;
      for (let i = 0; i < theta.length; i++) theta[i] -= rate * g.data[i];
    }
  };
}

// m ← β₁ m + (1 − β₁) g,   v ← β₂ v + (1 − β₂) g²,
// θ ← θ − η m̂ / (√v̂ + ε) with m̂ = m / (1 − β₁ᵗ), v̂ = v / (1 − β₂ᵗ). Kingma and Ba (2014).
export function adam(rate, { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8 } = {}) {
  const moments = {};
  return (t, params, grads) => {
    const c1 = 1 - beta1 ** t, c2 = 1 - beta2 ** t;
    for (const [name, { data: g }] of Object.entries(grads)) {
      const theta = params[name].data;
      moments[name] ??= [new Float64Array(g.length), new Float64Array(g.length)];
      const [m, v] = moments[name];
      for (let i = 0; i < g.length; i++) {
        m[i] += (1 - beta1) * (g[i] - m[i]);
        v[i] = beta2 * v[i] + (1 - beta2) * g[i] * g[i];
        theta[i] -= ((rate / c1) * m[i]) / (Math.sqrt(v[i] / c2) + epsilon);
      }
    }
  };
}

export const OPTIMIZERS = { gd: gradientDescent, adam };
