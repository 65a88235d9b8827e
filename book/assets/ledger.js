// Filters of the ledger: verdict, chapter, text, "differs at half size"; the address keeps them.
const root = document.querySelector(".ledger");
const cards = [...root.querySelectorAll(".card")];
const tiles = [...root.querySelectorAll(".tile")];
const [chapter, text, half] = ["chapter", "text", "half"].map((n) => root.querySelector(`[name=${n}]`));
const shown = root.querySelector(".shown");
let verdict = "";

function filter() {
  const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const card of cards) {
    const fits = (!verdict || card.dataset.verdict === verdict)
      && (!chapter.value || card.dataset.chapter === chapter.value)
      && (!half.checked || "half" in card.dataset)
      && words.every((word) => card.textContent.toLowerCase().includes(word) || card.id.includes(word));
    card.hidden = !fits;
    count += fits;
  }
  for (const tile of tiles) tile.setAttribute("aria-pressed", tile.dataset.verdict === verdict);
  shown.textContent = `${count} of ${cards.length} claims`;
}

function keep() {
  const state = new URLSearchParams();
  if (verdict) state.set("verdict", verdict);
  if (chapter.value) state.set("chapter", chapter.value);
  if (text.value) state.set("text", text.value);
  if (half.checked) state.set("half", "1");
  const hash = state.toString();
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}

function read() {
  const hash = decodeURIComponent(location.hash.slice(1));
  const state = new URLSearchParams(hash.includes("=") ? location.hash.slice(1) : "");
  verdict = state.get("verdict") ?? "";
  if (!tiles.some((tile) => tile.dataset.verdict === verdict)) verdict = "";
  chapter.value = state.get("chapter") ?? "";
  if (chapter.selectedIndex < 0) chapter.value = "";
  text.value = state.get("text") ?? "";
  half.checked = state.get("half") === "1";
  filter();
  const card = cards.find((c) => c.id === hash); // a link to one claim opens it
  if (card) {
    card.querySelector("details").open = true;
    card.scrollIntoView();
  }
}

for (const tile of tiles) {
  tile.addEventListener("click", () => {
    verdict = verdict === tile.dataset.verdict ? "" : tile.dataset.verdict;
    filter();
    keep();
  });
}
for (const control of [chapter, text, half]) {
  control.addEventListener("input", () => { filter(); keep(); });
}
root.querySelector(".all").addEventListener("click", () => {
  [verdict, chapter.value, text.value, half.checked] = ["", "", "", false];
  filter();
  keep();
});
addEventListener("hashchange", read);
read();

const search = document.querySelector("[name=statement]");
search?.addEventListener("input", () => {
  const word = search.value.toLowerCase();
  for (const row of document.querySelectorAll("table.statements tbody tr")) {
    row.hidden = !row.textContent.toLowerCase().includes(word);
  }
});

// On paper nothing can be opened.
addEventListener("beforeprint", () => {
  for (const fold of document.querySelectorAll("details.kept")) fold.open = true;
});
