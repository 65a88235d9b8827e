// How many points spectral clustering of |VᵀV| puts into the right cluster, as `sl.clustering`
// does it: a graph of each point's nearest neighbours by |cos|, the leading eigenvectors of
// D^{−1/2} A D^{−1/2}, and k-means on their rows.

import { matrix, product } from "../trainer/linear.js";
import { normal, stream } from "../trainer/data.js";

const NEIGHBOURS = 20, WEAK_LINK = 1e-3, ITERATIONS = 80, STARTS = 8;

// V: (q, n), orthonormal rows; labels: 0 … K − 1, one for each point. Between 1/K and 1.
export function clustersFound(V, labels, K) {
  const found = kMeans(leading(graph(V), K), K);
  let best = 0;
  for (const names of permutations(K)) {
    let right = 0;
    for (let i = 0; i < labels.length; i++) right += names[found[i]] === labels[i];
    best = Math.max(best, right / labels.length);
  }
  return best;
}

// a_ij = |cos(v_i, v_j)| where one of the two is among the nearest of the other.
function graph(V) {
  const n = V.cols, unit = matrix(V.rows, n), near = matrix(n, n);
  for (let j = 0; j < n; j++) {
    let size = 0;
    for (let i = 0; i < V.rows; i++) size += V.data[i * n + j] ** 2;
    for (let i = 0; i < V.rows; i++) unit.data[i * n + j] = V.data[i * n + j] / (Math.sqrt(size) || 1);
  }
  for (let i = 0; i < n; i++) {
    const alike = new Float64Array(n);
    for (let k = 0; k < V.rows; k++)
      for (let j = 0; j < n; j++) alike[j] += unit.data[k * n + i] * unit.data[k * n + j];
    const order = Array.from({ length: n }, (_, j) => j).filter((j) => j !== i);
    order.sort((a, b) => Math.abs(alike[b]) - Math.abs(alike[a]));
    for (const j of order.slice(0, NEIGHBOURS)) {
      near.data[i * n + j] = near.data[j * n + i] = Math.abs(alike[j]);
    }
  }
  return near;
}

// The K leading eigenvectors of the normalised graph with a weak link between all points, by
// orthogonal iteration (on the matrix plus the identity, so that no eigenvalue is negative); the
// rows have length 1.
function leading(A, K) {
  const n = A.rows, degree = new Float64Array(n);
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) degree[i] += A.data[i * n + j];
  const link = (WEAK_LINK * degree.reduce((sum, d) => sum + d, 0)) / n, M = matrix(n, n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++)
      M.data[i * n + j] =
        (A.data[i * n + j] + link / n) / Math.sqrt((degree[i] + link) * (degree[j] + link)) +
        (i === j);
  const draw = stream(1, "eigenvectors");
  let U = matrix(n, K, Float64Array.from({ length: n * K }, () => normal(draw)));
  for (let t = 0; t < ITERATIONS; t++) U = orthonormal(product(M, U));
  for (let i = 0; i < n; i++) {
    const row = U.data.subarray(i * K, i * K + K), size = Math.hypot(...row) || 1;
    for (let c = 0; c < K; c++) row[c] /= size;
  }
  return U;
}

function orthonormal(U) {
  const { rows: n, cols: K, data } = U;
  for (let c = 0; c < K; c++) {
    for (let e = 0; e < c; e++) {
      let along = 0;
      for (let i = 0; i < n; i++) along += data[i * K + c] * data[i * K + e];
      for (let i = 0; i < n; i++) data[i * K + c] -= along * data[i * K + e];
    }
    let size = 0;
    for (let i = 0; i < n; i++) size += data[i * K + c] ** 2;
    for (let i = 0; i < n; i++) data[i * K + c] /= Math.sqrt(size) || 1;
  }
  return U;
}

// Lloyd's algorithm from several starts: the labels with the smallest sum of squares.
function kMeans(U, K) {
  const n = U.rows, d = U.cols, draw = stream(2, "centres");
  const distance = (i, centre) => {
    let sum = 0;
    for (let c = 0; c < d; c++) sum += (U.data[i * d + c] - centre[c]) ** 2;
    return sum;
  };
  let best = Infinity, labels;
  for (let start = 0; start < STARTS; start++) {
    const centres = [];
    let gap = new Float64Array(n).fill(1);
    while (centres.length < K) {
      let left = draw() * gap.reduce((sum, g) => sum + g, 0), i = 0; // k-means++
      while (i < n - 1 && (left -= gap[i]) > 0) i++;
      const centre = U.data.slice(i * d, i * d + d);
      centres.push(centre);
      gap = gap.map((g, j) => (centres.length > 1 ? Math.min(g, distance(j, centre)) : distance(j, centre)));
    }
    const mine = new Uint8Array(n);
    let total = 0;
    for (let t = 0; t < 30; t++) {
      total = 0;
      for (let i = 0; i < n; i++) {
        const far = centres.map((centre) => distance(i, centre));
        mine[i] = far.indexOf(Math.min(...far));
        total += far[mine[i]];
      }
      centres.forEach((centre, k) => {
        const own = [...mine.keys()].filter((i) => mine[i] === k);
        if (own.length)
          for (let c = 0; c < d; c++)
            centre[c] = own.reduce((sum, i) => sum + U.data[i * d + c], 0) / own.length;
      });
    }
    if (total < best) [best, labels] = [total, mine.slice()];
  }
  return labels;
}

function permutations(K) {
  if (K === 0) return [[]];
  return permutations(K - 1).flatMap((p) =>
    Array.from({ length: K }, (_, i) => [...p.slice(0, i), K - 1, ...p.slice(i)]),
  );
}
