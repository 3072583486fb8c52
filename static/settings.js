// The settings: found by a word while it is typed, and fetched anew when another configuration is in force.
import { onEvents, onState, refresh } from "/static/live.js";

const [form, find, only, found] = ["finding", "find", "only-changed", "found"].map((id) => document.getElementById(id));
let opened = null; // the folds that were open before somebody searched

function filter() {
  const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
  const each = document.getElementById("each");
  const folds = [...each.querySelectorAll("details")];
  const searching = words.length > 0 || only.checked;
  if (searching) opened ??= new Set(folds.filter((one) => one.open).map((one) => one.dataset.key));
  let count = 0;
  for (const row of each.querySelectorAll("[data-find]")) {
    const table = row.closest(".of-table")?.querySelector("h3").textContent ?? "";
    const text = `${row.closest("details.card").dataset.key} ${table} ${row.textContent}`.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word)) || (only.checked && row.dataset.differs === undefined);
    if (!row.hidden) count += 1;
  }
  for (const box of each.querySelectorAll(".of-table, .scroll, details")) {
    const holds = box.querySelector("[data-find]:not([hidden])");
    box.hidden = searching && !holds;
    if (box.matches("details")) box.open = searching ? Boolean(holds) : opened ? opened.has(box.dataset.key) : box.open;
  }
  if (!searching) opened = null;
  found.textContent = !searching ? "" : count ? `${count} found` : "Nothing like that can be set.";
}

form.hidden = false;
form.addEventListener("submit", (submitted) => submitted.preventDefault());
form.addEventListener("input", filter);
find.addEventListener("keydown", (key) => {
  if (key.key !== "Escape" || !find.value) return;
  find.value = "";
  filter();
});

async function show() {
  await refresh("settings", "each", "versions");
  if (find.value || only.checked) filter();
}
let notices = "";
onState((state) => {
  const now = JSON.stringify(state.notices);
  if (now !== notices) show();
  notices = now;
});
onEvents((events, gap) => { if (gap || events.some((event) => event.type.startsWith("config."))) show(); });
setInterval(() => { if (!document.hidden) show(); }, 30000);
