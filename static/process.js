// One process: its state, and what it writes, line by line as it is written. The end is kept in sight unless somebody has
// scrolled up to read; of very much, the last is shown.
import { onState, refresher, text } from "/static/live.js";

const EVERY_MS = 1000;
const PATIENCE_MS = 5000;
const MOST_CHARACTERS = 400_000;
const [box, lines, rest, nothing, pause] = ["output", "lines", "rest", "nothing", "pause"].map((id) => document.getElementById(id));
let after = box.dataset.after;
let paused = false;
let asking = false;

const toEnd = () => { box.scrollTop = box.scrollHeight; };

function add(piece) {
  const atEnd = box.scrollTop + box.clientHeight > box.scrollHeight - 40;
  if (piece.skipped) lines.append(text("i", `… ${Math.ceil(piece.skipped / 1000)} kB are left out here …\n`));
  if (piece.anew) lines.append(text("i", "… it goes on in a new file …\n"));
  if (piece.text) lines.append(piece.text);
  if (rest.textContent !== piece.rest) rest.textContent = piece.rest;
  let shown = lines.textContent.length;
  while (shown > MOST_CHARACTERS && lines.childNodes.length > 1) {
    shown -= lines.firstChild.textContent.length;
    lines.firstChild.remove();
  }
  nothing.hidden = Boolean(shown || piece.rest);
  if (atEnd) toEnd();
}

async function look() {
  if (paused || asking || document.hidden) return;
  asking = true;
  try {
    const path = `/api/v1/processes/${encodeURIComponent(box.dataset.name)}/output?after=${encodeURIComponent(after)}`;
    const answer = await fetch(path, { signal: AbortSignal.timeout(PATIENCE_MS) });
    if (answer.ok) {
      const piece = await answer.json();
      after = piece.mark;
      add(piece);
    }
  } catch { /* the lamp tells */ }
  asking = false;
}

pause.hidden = false;
pause.addEventListener("click", () => {
  paused = !paused;
  pause.classList.toggle("on", paused);
  pause.textContent = paused ? "Go on" : "Pause";
  look();
});

toEnd();
const state = refresher(1000, "process");
onState(state);
setInterval(() => { if (!document.hidden) state(); }, 5000);
setInterval(look, EVERY_MS);
