// The errors page, live: new rows on top, unless paused or narrowed by a filter.
import { onEvents, refresh, shape, text, timeElement } from "/static/live.js";

const MAX_ROWS = 100;
const table = document.getElementById("rows");
const body = table.tBodies[0];
const pause = document.getElementById("pause");
let held = [];
let paused = false;

function row(event) {
  const tr = document.createElement("tr");
  tr.dataset.id = event.id;
  tr.className = "fresh";
  tr.insertCell().append(timeElement(event.at));
  const what = text("a", event.line.text, "what");
  what.href = event.line.href;
  tr.insertCell().append(shape(event.line.shape, event.line.tone), text("span", event.severity, "unseen"), " ", what);
  tr.insertCell().append(text("span", event.kind, "kind"));
  tr.insertCell().append(text("code", event.component), " ", text("span", event.operation, "kind"));
  return tr;
}

function show(events) {
  body.prepend(...events.slice(-MAX_ROWS).reverse().map(row));
  while (body.rows.length > MAX_ROWS) body.lastElementChild.remove();
  document.getElementById("nothing")?.remove();
}

if (table.dataset.live) {
  let refreshing = 0;
  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", paused);
    pause.textContent = paused ? "Go on" : "Pause";
    if (!paused) { show(held); held = []; }
  });
  onEvents((events, gap) => {
    const errors = events.filter((event) => event.type === "error");
    if (paused) {
      held = [...held, ...errors].slice(-MAX_ROWS);
      pause.textContent = `Go on (${held.length} waiting)`;
    } else if (errors.length) show(errors);
    if (!refreshing && (errors.length || gap)) {
      refreshing = setTimeout(() => { refreshing = 0; refresh(["#groups-title + .card", ".tree"]); }, 5000);
    }
  });
}
