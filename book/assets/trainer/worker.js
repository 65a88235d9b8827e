// The run in a thread of its own, so that the page stays at the reader's hand.
//   new Worker(new URL("worker.js", import.meta.url), { type: "module" })
// It is told {do: "start", id, run, steps, paused} (run: see run.js), {do: "pause"}, {do: "go"} and
// {do: "step", count}. It answers {id, frame, done} at every mark and after every single step; `frame`
// is what `Run.measure` returns, `id` that of the start, so that a page can drop an overtaken run.

import { Run, marks } from "./run.js";

let now; // {id, run, steps, due, going}

function post() {
  const frame = now.run.measure(), done = frame.diverged || now.run.step >= now.steps;
  if (done) now.going = false;
  self.postMessage({ id: now.id, frame, done });
}

// Up to the next mark, at most 40 ms at a time; between two turns the messages are read.
function turn(mine) {
  if (mine !== now || !now.going) return;
  const began = performance.now();
  do {
    if (!now.run.advance() || now.due.has(now.run.step)) {
      post();
      break;
    }
  } while (performance.now() - began < 40);
  if (now.going) setTimeout(turn, 0, mine);
}

self.onmessage = ({ data }) => {
  if (data.do === "start") {
    const { id, run, steps, paused = false } = data;
    now = { id, run: new Run(run), steps, due: new Set(marks(steps)), going: !paused };
    post();
  } else if (!now || now.run.diverged) return;
  if (data.do === "pause") now.going = false;
  if (data.do === "step") {
    now.going = false;
    for (let k = data.count ?? 1; k > 0 && now.run.step < now.steps && now.run.advance(); k--);
    post();
  }
  if (data.do === "go") now.going = now.run.step < now.steps;
  if (now.going) setTimeout(turn, 0, now);
};
