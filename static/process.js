// One process: its state and the end of its output, which is kept in sight unless somebody has scrolled up to read.
import { onState, refresh } from "/static/live.js";

const output = () => document.querySelector(".output");
const toEnd = () => { const box = output(); if (box) box.scrollTop = box.scrollHeight; };

async function show() {
  const box = output();
  const [atEnd, top] = box ? [box.scrollTop + box.clientHeight > box.scrollHeight - 40, box.scrollTop] : [true, 0];
  await refresh("process");
  if (atEnd) toEnd();
  else if (output()) output().scrollTop = top;
}

toEnd();
onState(show);
setInterval(() => { if (!document.hidden) show(); }, 2000);
