// The page of circuits: the table as it is now, and the charts of calls, minute by minute.
import { countDown, renew } from "/static/charts.js";
import { onState, refresh } from "/static/live.js";

const anew = () => refresh("circuits");
onState(anew);
setInterval(() => { if (!document.hidden) anew(); }, 5000);
setInterval(() => { if (!document.hidden) renew(); }, 60000);
countDown(anew);
