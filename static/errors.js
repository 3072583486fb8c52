// The errors page, live: new rows that fit the filter come in on top, unless paused.
import { onEvents, pausable, refresher, said, shine, text, timeElement } from "/static/live.js";

const MAX_ROWS = 100;
const table = document.getElementById("rows");
const body = table.tBodies[0];

function row(event, shines) {
  const tr = text("tr", "", shines ? "fresh" : "");
  tr.dataset.id = event.id;
  tr.insertCell().append(timeElement(event.at));
  tr.insertCell().append(said(event), text("small", `${event.kind} · ${event.component}`, "narrow-only two"));
  const [kind, where] = [tr.insertCell(), tr.insertCell()];
  kind.className = "wide";
  kind.append(text("span", event.kind, "quiet"));
  where.className = "wide where";
  where.title = `${event.component} · ${event.operation}`;
  where.append(text("code", event.component), text("small", event.operation));
  return tr;
}

// A page of old rows, or of what a search found, stays as it is.
if (table.dataset.live !== undefined) {
  const { kind, ...wanted } = JSON.parse(table.dataset.live);
  const fits = (event) => event.type === "error"
    && (!kind || `${event.kind}.`.startsWith(`${kind}.`))
    && Object.entries(wanted).every(([name, value]) => event[name] === value);
  const recount = refresher(5000, "troubles", "tree");
  onEvents(pausable(document.getElementById("pause"), (events, gap) => {
    const errors = events.filter(fits).slice(-MAX_ROWS);
    body.prepend(...errors.reverse().map((event) => row(event, shine(errors))));
    while (body.rows.length > MAX_ROWS) body.lastElementChild.remove();
    if (errors.length) document.getElementById("nothing")?.remove();
    if (errors.length || gap) recount();
  }));
}
