// Charts read aloud: arrow keys (and the pointer) step through the marks of a drawing and say what each is.
"use strict";
(() => {
  const marks = (drawing) => [...drawing.querySelectorAll("[data-says]")];
  const say = (drawing, mark) => {
    drawing.querySelector(".reading")?.classList.remove("reading");
    mark.classList.add("reading");
    const output = drawing.parentElement.querySelector(".chart-says");
    if (output) { output.textContent = mark.dataset.says; output.classList.add("on"); }
  };
  const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };
  document.addEventListener("keydown", (event) => {
    const drawing = event.target.closest?.("svg.drawing[tabindex]");
    if (!drawing || event.ctrlKey || event.altKey || event.metaKey) return;
    const all = marks(drawing), at = all.indexOf(drawing.querySelector(".reading"));
    let next;
    if (event.key in step) next = at < 0 ? all.length - 1 : at + step[event.key];
    else if (event.key === "Home") next = 0;
    else if (event.key === "End") next = all.length - 1;
    else return;
    event.preventDefault();
    const mark = all[Math.min(Math.max(next, 0), all.length - 1)];
    if (mark) say(drawing, mark);
  });
  document.addEventListener("pointerover", (event) => {
    const mark = event.target.closest?.("svg.drawing [data-says]");
    if (mark) say(mark.closest("svg.drawing"), mark);
  });
})();
