// Formulas are set when the theme's own scripts are done, which would else lay all of them out once
// more; their fonts are fetched meanwhile.
(() => {
  if (!window.MathJax) return;
  const begun = new Promise((go) => addEventListener("DOMContentLoaded", () => setTimeout(go)));
  const pageReady = () => begun.then(() => MathJax.startup.defaultPageReady());
  window.MathJax = { ...window.MathJax, startup: { pageReady } };
  const root = document.documentElement.dataset.content_root || "./";
  const fonts = ["Main-Regular", "Math-Italic", "SansSerif-Regular", "Size1-Regular", "Zero"];
  for (const name of location.protocol.startsWith("http") ? fonts : []) {
    const link = document.createElement("link");
    Object.assign(link, { rel: "preload", as: "font", type: "font/woff", crossOrigin: "" });
    link.href = `${root}_static/mathjax/output/chtml/fonts/woff-v2/MathJax_${name}.woff`;
    document.head.append(link);
  }
})();

// A link to a statement shows its box when it is pointed at or focused; Escape closes it.
(() => {
  const root = document.documentElement.dataset.content_root || "./";
  let box, timer, asked, shown;

  function load() {
    asked ??= new Promise((done) => {
      const script = document.createElement("script");
      script.src = `${root}_static/mentions.js`;
      script.onload = script.onerror = done;
      document.head.append(script);
    });
    return asked;
  }

  function key(link) {
    const base = new URL(root, location.href).pathname;
    const path = decodeURI(link.pathname);
    return (path.startsWith(base) ? path.slice(base.length) : path) + link.hash;
  }

  function hide() {
    clearTimeout(timer);
    box?.remove();
    shown?.removeAttribute("aria-describedby");
    box = shown = undefined;
  }

  async function show(link) {
    await load();
    const text = window.bookMentions?.[key(link)];
    if (!text || !link.isConnected) return;
    hide();
    shown = link;
    box = document.createElement("div");
    box.className = "mention-box";
    box.id = "mention-box";
    box.role = "tooltip";
    box.innerHTML = text;
    link.setAttribute("aria-describedby", box.id);
    document.body.append(box);
    place(link);
    box.addEventListener("pointerenter", () => clearTimeout(timer));
    box.addEventListener("pointerleave", () => later(hide));
    if (window.MathJax?.typesetPromise) {
      const now = box;
      await MathJax.typesetPromise([now]);
      if (box === now) place(link);
    }
  }

  function place(link) {
    const at = link.getClientRects()[0] ?? link.getBoundingClientRect();
    const width = Math.min(560, innerWidth - 24);
    box.style.width = `${width}px`;
    const left = Math.max(12, Math.min(at.left, innerWidth - width - 12));
    const below = at.bottom + 8 + box.offsetHeight < innerHeight || at.top < box.offsetHeight + 8;
    box.style.left = `${left + scrollX}px`;
    box.style.top = `${(below ? at.bottom + 8 : at.top - 8 - box.offsetHeight) + scrollY}px`;
  }

  function later(act) {
    clearTimeout(timer);
    timer = setTimeout(act, 180);
  }

  for (const [come, go] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
    document.addEventListener(come, (event) => {
      const link = event.target.closest?.("a.mention");
      if (link && event.pointerType !== "touch") later(() => show(link));
    });
    document.addEventListener(go, (event) => {
      if (event.target.closest?.("a.mention")) later(hide);
    });
  }
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
})();

// How wide each display is in its own ems, so that the style sheet can set wide ones smaller.
addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  const displays = [...document.querySelectorAll('article mjx-container[display="true"]')];
  const ems = displays.map((box) => {
    const inner = box.firstElementChild.getBoundingClientRect().width;
    return parseFloat(box.style.minWidth) || inner / parseFloat(getComputedStyle(box).fontSize);
  }); // all are measured before one is changed: the page is laid out once
  displays.forEach((box, k) => box.style.setProperty("--ems", ems[k].toFixed(2)));
  for (const box of document.querySelectorAll("article :is(div.math, div.table, table, .columns pre)")) {
    if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0; // the keyboard can scroll it
  }
});

// One switch for all proofs of the book; the browser remembers it.
document.addEventListener("DOMContentLoaded", () => {
  const proofs = [...document.querySelectorAll("details.proof")];
  const place = document.querySelector("article section > h2");
  if (!proofs.length || !place) return;
  const button = document.createElement("button");
  button.className = "proofs";
  button.type = "button";
  let folded = false;
  try { folded = localStorage.getItem("proofs") === "folded"; } catch { /* no storage: open */ }
  const set = () => {
    for (const proof of proofs) proof.open = !folded;
    button.textContent = folded ? "Show all proofs" : "Fold all proofs";
    button.setAttribute("aria-pressed", folded);
  };
  button.addEventListener("click", () => {
    folded = !folded;
    try { localStorage.setItem("proofs", folded ? "folded" : "open"); } catch { /* as above */ }
    set();
  });
  const line = document.createElement("p");
  line.append(button);
  place.closest("section").before(line);
  set();
});

// Long tables sort by their heads: numbers by their value, text by its letters.
document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      if (head.dataset.name) button.setAttribute("aria-label", head.dataset.name);
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const key = (row) => row.cells[column].dataset.value ?? row.cells[column].innerText;
        const order = (a, b) => {
          const [s, t] = [key(a), key(b)];
          return isNaN(s - t) ? s.localeCompare(t) : s - t;
        };
        const rows = [...table.tBodies[0].rows].sort((a, b) => (up ? order(a, b) : order(b, a)));
        table.tBodies[0].append(...rows);
      });
    });
  }
});
