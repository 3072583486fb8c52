// The keyboard: single keys, the sheet that lists them and what is what on the page, and hints for who has no mouse.
// It is loaded when somebody first presses a key or asks for help.
const OFF = "winclaw-keys-off";
const MAX_EXPLAINED = 60;
const sheet = document.getElementById("help");
const keysOn = document.getElementById("keys-on");

keysOn.checked = !localStorage.getItem(OFF);
keysOn.addEventListener("change", () => {
  if (keysOn.checked) localStorage.removeItem(OFF);
  else localStorage.setItem(OFF, "yes");
});

// The sheet. What a mouse is told by resting on things is listed there, too.

const nameOf = (one) => (one.getAttribute("aria-label") ?? one.textContent).trim().replace(/\s+/g, " ");

function explained() {
  const found = new Map();
  for (const one of document.querySelectorAll("[title]:not(time):not(option)")) {
    const name = nameOf(one) || "The picture";
    const cut = one.title.startsWith(name.slice(0, 20)); // the whole of what has too little room is no explanation
    if (one.checkVisibility() && !cut && found.size < MAX_EXPLAINED) found.set(`${name.slice(0, 60)}: ${one.title}`, [name, one.title]);
  }
  return [...found.values()];
}

/** Opens the sheet. */
export function help() {
  const rows = explained().map(([name, words]) => {
    const row = document.createElement("div");
    for (const [tag, content] of [["dt", name.length > 60 ? `${name.slice(0, 59)}…` : name], ["dd", words]]) {
      const part = document.createElement(tag);
      part.textContent = content;
      row.append(part);
    }
    return row;
  });
  sheet.querySelector(".explained").replaceChildren(...rows);
  document.getElementById("explained").hidden = !rows.length;
  hide();
  if (!sheet.open) sheet.showModal();
}

// The keys. None changes anything by itself but what is shown.

function step(by) {
  const links = [...document.querySelectorAll("main a.what")].filter((link) => link.checkVisibility());
  const here = links.findIndex((link) => link.closest("tr, li")?.contains(document.activeElement));
  links[here < 0 && by > 0 ? 0 : here + by]?.focus();
}

function search() {
  const field = document.querySelector("main input[type=search]");
  field?.focus();
  field?.select();
}

const KEYS = {
  "?": help,
  "/": search,
  "p": () => document.getElementById("pause")?.click(),
  "j": () => step(1),
  "k": () => step(-1),
  "S": () => [...document.querySelectorAll("#enter button, #leave")].find((one) => one.checkVisibility())?.focus(),
};

let going = false; // after g; the next key says where to, however long it takes, and anything else forgets it
addEventListener("pointerdown", () => { going = false; });

/** Does what a key stands for; nothing while somebody types, with Ctrl, Alt or the like, or where keys are turned off. */
export function press(key) {
  if (key.key === "Escape") hide();
  const was = going;
  going = false;
  const typing = key.target.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable]");
  if (typing || sheet.open || key.ctrlKey || key.altKey || key.metaKey || key.isComposing || localStorage.getItem(OFF)) return;
  const to = was ? document.querySelector(`nav [data-go="${CSS.escape(key.key)}"]`) : null;
  going = key.key === "g" && !was;
  if (to) {
    to.click();
  } else if (Object.hasOwn(KEYS, key.key)) {
    key.preventDefault();
    KEYS[key.key]();
  }
}

// What a button's title says is shown, too, when the keyboard comes to it. Screen readers have the title already.

const hint = document.createElement("div");
hint.className = "tip";
hint.setAttribute("aria-hidden", "true");
document.body.append(hint);

const hide = () => { hint.hidden = true; };

function show() {
  hide();
  const one = document.activeElement;
  if (!one?.title || !one.matches(":focus-visible")) return;
  hint.textContent = one.title;
  hint.hidden = false;
  const [around, own] = [one.getBoundingClientRect(), hint.getBoundingClientRect()];
  const below = around.bottom + 6 + own.height < innerHeight;
  hint.style.left = `${Math.max(8, Math.min(around.left, innerWidth - own.width - 8))}px`;
  hint.style.top = `${below ? around.bottom + 6 : around.top - own.height - 6}px`;
}

document.addEventListener("focusin", show);
document.addEventListener("focusout", hide);
document.addEventListener("scroll", () => { if (!hint.hidden) show(); }, true);
show();
