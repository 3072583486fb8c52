// The loops, live: at once when one begins, ends or gets stuck, now and then for the beats.
import { onState, refresh } from "/static/live.js";

onState(() => refresh("loops"));
setInterval(() => { if (!document.hidden) refresh("loops"); }, 5000);
