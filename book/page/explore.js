(function () {
  document.querySelectorAll('[data-fx="UID"]:not([data-ready])').forEach(function (root) {
    root.dataset.ready = 1;
    var D = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
    var picture = root.querySelector("img"), note = root.querySelector(".fx-note");
    var rows = [].slice.call(root.querySelectorAll(".fx-row")), reset = root.querySelector("button");
    var start = D.axes.map(function (a) { return a.start; }), at = start.slice();
    var key = (root.closest("figure[id]") || {}).id || "fx-" + "UID";

    function show() {
      var frame = 0, words = [];
      D.axes.forEach(function (axis, a) {
        var word = axis.labels[at[a]];
        frame = frame * axis.labels.length + at[a];
        words.push(axis.name + " " + word);
        var range = rows[a].querySelector("input[type=range]");
        if (range) {
          range.value = at[a];
          range.setAttribute("aria-valuetext", word);
          rows[a].querySelector("output").textContent = word;
        } else if (rows[a].querySelector("select")) rows[a].querySelector("select").value = at[a];
        else rows[a].querySelectorAll("input")[at[a]].checked = true;
      });
      picture.src = D.frames[frame];
      var told = D.notes[frame];
      if (Array.isArray(told)) {
        var cells = note.querySelectorAll("dd");
        told.forEach(function (pair, i) { cells[i].textContent = pair[1]; });
        told = told.map(function (pair) { return pair.join(" "); }).join(", ");
      } else note.textContent = told;
      picture.alt = D.alt + " Shown: " + words.join(", ") + ". " + told;
      reset.disabled = at.join() === start.join();
    }

    function keep() { // the address keeps the state; a page from a file may not
      try {
        var url = new URL(location.href);
        if (at.join() === start.join()) url.searchParams.delete(key);
        else url.searchParams.set(key, at.join("."));
        history.replaceState(null, "", url);
      } catch (error) { /* nothing to keep it in */ }
    }

    rows.forEach(function (row, a) {
      row.querySelectorAll("input, select").forEach(function (control) {
        control.disabled = false;
        control.addEventListener("input", function () { at[a] = +control.value; show(); keep(); });
      });
    });
    reset.addEventListener("click", function () { at = start.slice(); show(); keep(); });
    var told = (new URLSearchParams(location.search).get(key) || "none").split(".").map(Number);
    if (told.length === at.length && told.every(function (v, a) {
      return Number.isInteger(v) && v >= 0 && v < D.axes[a].labels.length; })) at = told;
    show();
  });
})();
