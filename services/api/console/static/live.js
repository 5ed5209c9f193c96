(() => {
  "use strict";
  const view = document.getElementById("live");
  if (!view) return;
  const rows = view.querySelector("[data-rows]");
  const said = view.querySelector("[data-said]");
  const button = view.querySelector("[data-pause]");
  const most = 500;
  let source = null;
  let paused = false;

  const say = (text) => { said.textContent = text; };

  function add(html) {
    const holder = document.createElement("template");
    holder.innerHTML = html;
    const row = holder.content.firstElementChild;
    document.getElementById(row.id)?.remove();
    rows.prepend(row);
    while (rows.children.length > most) rows.lastElementChild.remove();
  }

  function judge(told) {
    const row = document.getElementById(told.row);
    if (!row) return;
    row.className = `live-row ${told.verdict}`;
    row.querySelector("[data-verdict]").textContent = told.said;
  }

  function open() {
    if (source || paused || document.hidden) return;
    say("Connecting …");
    source = new EventSource(view.dataset.live);
    source.addEventListener("open", () => say("Waiting for events."));
    source.addEventListener("row", (event) => add(event.data));
    source.addEventListener("verdict", (event) => judge(JSON.parse(event.data)));
    source.addEventListener("flow", (event) => say(`${JSON.parse(event.data).said}. The last ${most} are kept.`));
    source.addEventListener("trouble", (event) => say(JSON.parse(event.data).detail));
    source.addEventListener("error", () => {
      if (source && source.readyState === EventSource.CLOSED) {
        close();
        say("No live view now: Kafka does not answer, or five watch already. Resume tries again.");
        pause(true);
      }
    });
  }

  function close() {
    source?.close();
    source = null;
  }

  function pause(on) {
    paused = on;
    button.textContent = on ? "Resume" : "Pause";
    button.setAttribute("aria-pressed", String(on));
    if (on) close();
    else open();
  }

  button.hidden = false;
  button.addEventListener("click", () => {
    pause(!paused);
    if (paused) say("Paused. Nothing is read meanwhile.");
  });
  // What somebody reads must not move away.
  rows.addEventListener("toggle", (event) => {
    if (event.target.open && !paused) { pause(true); say("Paused while you read. Resume goes on with what is new."); }
  }, true);
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  open();
})();
