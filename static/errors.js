// The errors page, live: new rows that fit the filter come in on top, unless paused.
import { gapless, onEvents, pausable, refresh, refresher, said, shine, text, timeElement } from "/static/live.js";

const MAX_ROWS = 100;

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

/** Puts new rows on top; the link to older ones goes on behind the last that is left. */
function show(errors) {
  const body = document.querySelector("#rows tbody");
  body.prepend(...errors.slice(-MAX_ROWS).reverse().map((event) => row(event, shine(errors))));
  document.getElementById("nothing")?.remove();
  if (body.rows.length <= MAX_ROWS) return;
  while (body.rows.length > MAX_ROWS) body.lastElementChild.remove();
  const [older, link] = [new URL(location.href), document.getElementById("older")];
  older.searchParams.set("before", body.lastElementChild.dataset.id);
  link.href = older.href;
  link.hidden = false;
}

// A page of old rows, or of what a search found, stays as it is.
const filter = document.getElementById("rows").dataset.live;
if (filter !== undefined) {
  const { kind, ...wanted } = JSON.parse(filter);
  const fits = (event) => event.type === "error"
    && (!kind || `${event.kind}.`.startsWith(`${kind}.`))
    && Object.entries(wanted).every(([name, value]) => event[name] === value);
  const recount = refresher(5000, "troubles", "tree");
  const take = gapless(show, () => refresh("list", "pager", "troubles", "tree"));
  onEvents(pausable(document.getElementById("pause"), (events, gap) => {
    const errors = events.filter(fits);
    if (!errors.length && !gap) return;
    take(errors, gap);
    recount();
  }));
}
