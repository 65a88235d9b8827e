// Matrices as {rows, cols, data}: Float64, row by row, one point of the data per column.
// Products, the eigenvectors of a symmetric matrix, and what they say of a row space.

export const EPS = 2 ** -52;

export function matrix(rows, cols, data = new Float64Array(rows * cols)) {
  return { rows, cols, data: data instanceof Float64Array ? data : Float64Array.from(data) };
}

// C = A B
export function product(A, B, C = matrix(A.rows, B.cols)) {
  return combine(A.data, A.cols, 1, A.cols, B, C);
}

// C = Aᵀ B
export function productTN(A, B, C = matrix(A.cols, B.cols)) {
  return combine(A.data, 1, A.cols, A.rows, B, C);
}

// Row i of C is Σ_l a_il (row l of B), a_il at i · down + l · right. Four rows of B in one pass, and
// all along rows, which lie together in memory: this loop is where the time of a training goes.
function combine(a, down, right, inner, B, C) {
  const n = B.cols, b = B.data, c = C.data;
  c.fill(0);
  for (let i = 0; i < C.rows; i++) {
    const to = i * n;
    let l = 0;
    for (; l + 3 < inner; l += 4) {
      const at = i * down + l * right, b0 = l * n, b1 = b0 + n, b2 = b1 + n, b3 = b2 + n;
      const a0 = a[at], a1 = a[at + right], a2 = a[at + 2 * right], a3 = a[at + 3 * right];
      for (let j = 0; j < n; j++)
        c[to + j] += a0 * b[b0 + j] + a1 * b[b1 + j] + a2 * b[b2 + j] + a3 * b[b3 + j];
    }
    for (; l < inner; l++) addRow(a[i * down + l * right], b, l * n, c, to, n);
  }
  return C;
}

// C = A Bᵀ: four dot products at a time.
export function productNT(A, B, C = matrix(A.rows, B.rows)) {
  const n = A.cols, a = A.data, b = B.data, c = C.data, m = B.rows;
  for (let i = 0; i < A.rows; i++) {
    const from = i * n;
    let k = 0;
    for (; k + 3 < m; k += 4) {
      const b0 = k * n, b1 = b0 + n, b2 = b1 + n, b3 = b2 + n, at = i * m + k;
      let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
      for (let j = 0; j < n; j++) {
        const x = a[from + j];
        s0 += x * b[b0 + j];
        s1 += x * b[b1 + j];
        s2 += x * b[b2 + j];
        s3 += x * b[b3 + j];
      }
      c[at] = s0;
      c[at + 1] = s1;
      c[at + 2] = s2;
      c[at + 3] = s3;
    }
    for (; k < m; k++) c[i * m + k] = dot(a, from, b, k * n, n);
  }
  return C;
}

function addRow(a, x, from, y, to, n) {
  for (let j = 0; j < n; j++) y[to + j] += a * x[from + j];
}

function dot(x, from, y, to, n) {
  let sum = 0;
  for (let j = 0; j < n; j++) sum += x[from + j] * y[to + j];
  return sum;
}

// ‖A‖_F²
export function squares(A) {
  return dot(A.data, 0, A.data, 0, A.data.length);
}

// S = Uᵀ diag(values) U for a symmetric S: eigenvectors as the rows of U, largest value first.
// Jacobi: turn two coordinates at a time by the angle that makes their entry zero,
// t = tan φ the smaller root of t² + 2ζt − 1 = 0 with ζ = (s_qq − s_pp) / (2 s_pq).
export function eigenSymmetric(S) {
  const n = S.rows, A = S.data.slice(), U = new Float64Array(n * n);
  for (let i = 0; i < n; i++) U[i * n + i] = 1;
  const size = Math.sqrt(squares(S));
  for (let sweep = 0; sweep < 60; sweep++) {
    let off = 0;
    for (let p = 0; p < n; p++)
      for (let q = p + 1; q < n; q++) {
        const apq = A[p * n + q];
        off = Math.max(off, Math.abs(apq));
        if (Math.abs(apq) <= EPS * EPS * size) continue;
        const zeta = (A[q * n + q] - A[p * n + p]) / (2 * apq);
        const t = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.sqrt(zeta * zeta + 1));
        const c = 1 / Math.sqrt(t * t + 1), s = t * c;
        for (let k = 0; k < n; k++) turn(A, k * n + p, k * n + q, c, s);
        for (let k = 0; k < n; k++) turn(A, p * n + k, q * n + k, c, s);
        for (let k = 0; k < n; k++) turn(U, p * n + k, q * n + k, c, s);
      }
    if (off <= EPS * size) break;
  }
  const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => A[j * n + j] - A[i * n + i]);
  const rows = matrix(n, n);
  order.forEach((i, k) => rows.data.set(U.subarray(i * n, i * n + n), k * n));
  return { values: Float64Array.from(order, (i) => A[i * n + i]), U: rows };
}

function turn(a, i, j, c, s) {
  const x = a[i], y = a[j];
  a[i] = c * x - s * y;
  a[j] = s * x + c * y;
}

// The q leading singular values of Y (p, n), p ≤ n, and right singular vectors as the rows of V
// (q, n): YYᵀ = Uᵀ diag(s²) U by Jacobi, so that V = diag(1/s) U Y, made orthonormal once more.
// Rows beyond the numerical rank are zero: VᵀV projects on what is there.
export function rightVectors(Y, q) {
  const n = Y.cols, kept = Math.min(q, Y.rows);
  if (Y.rows > n) throw new RangeError(`Y must not be taller than wide, got ${Y.rows} × ${n}`);
  const { U } = eigenSymmetric(productNT(Y, Y));
  const V = matrix(q, n), s = new Float64Array(q), v = V.data;
  v.set(product(firstRows(U, kept), Y).data);
  for (let i = 0; i < kept; i++) {
    const at = i * n;
    for (let pass = 0; pass < 2; pass++)
      for (let k = 0; k < i; k++) addRow(-dot(v, at, v, k * n, n), v, k * n, v, at, n);
    s[i] = Math.sqrt(dot(v, at, v, at, n));
    const there = s[i] > n * EPS * s[0];
    for (let j = 0; j < n; j++) v[at + j] = there ? v[at + j] / s[i] : 0;
  }
  return { s, V };
}

// The first r rows of V, without a copy.
export function firstRows(V, r) {
  return matrix(r, V.cols, V.data.subarray(0, r * V.cols));
}

// P = VᵀV, the projector on the span of the orthonormal rows of V.
export function projector(V) {
  return productTN(V, V);
}

// ‖Q Vᵀ‖_F² / r: the part of the space of Q's r rows that lies in the space of V's rows.
export function share(Q, V) {
  return squares(productNT(Q, V)) / Q.rows;
}

// Sines of the principal angles from the rows of Q to the space of V's rows, largest first: the
// singular values of Q − (QVᵀ)V. The rows of `directions` are those angles' vectors in Q's space.
export function sines(Q, V) {
  const rest = product(productNT(Q, V), V);
  for (let i = 0; i < rest.data.length; i++) rest.data[i] = Q.data[i] - rest.data[i];
  const { values, U } = eigenSymmetric(productNT(rest, rest));
  const found = values.map((x) => Math.min(1, Math.sqrt(Math.max(0, x))));
  return { sines: found, directions: product(U, Q) };
}
