// The output of a run: follows it while it grows; `follow` and `wrap`.

const WAIT = 1_000;
const FULL = 100_000; // characters: so long a piece is likely not the last one there is
const ROUNDS_AFTER_END = 5; // the last of it may be recorded after the end itself

export function followOutput() {
  const box = document.getElementById("output");
  if (!box) return;
  const tools = document.getElementById("output-tools");
  const follow = checkbox(tools, "follow", box.dataset.ended === undefined);
  const wrap = checkbox(tools, "wrap", true);
  wrap.addEventListener("change", () => box.classList.toggle("wrap", wrap.checked));
  follow.addEventListener("change", () => follow.checked && toEnd(box));
  box.addEventListener("scroll", () => { follow.checked = isAtEnd(box); });
  if (follow.checked) toEnd(box);
  if (box.dataset.ended === undefined) grow(box, follow);
}

function checkbox(parent, name, isChecked) {
  const label = document.createElement("label");
  const input = document.createElement("input");
  input.type = "checkbox";
  input.checked = isChecked;
  label.append(input, ` ${name} `);
  parent.append(label);
  return input;
}

function isAtEnd(box) {
  return box.scrollTop + box.clientHeight >= box.scrollHeight - 4;
}

function toEnd(box) {
  box.scrollTop = box.scrollHeight;
}

async function grow(box, follow) {
  let left = ROUNDS_AFTER_END;
  while (left > 0) {
    const more = await ask(box);
    if (more && String(more.attempt) !== box.dataset.attempt) return location.reload();
    if (more) append(box, more, follow.checked);
    if (more?.ended && !more.html) left -= 1;
    if (!more || more.html.length < FULL) await pause();
  }
}

/** The next piece, null when there is no answer now. */
async function ask(box) {
  const { url, offset, style } = box.dataset;
  const query = new URLSearchParams({ offset, style });
  try {
    const response = await fetch(`${url}?${query}`, { signal: AbortSignal.timeout(10 * WAIT) });
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

function append(box, more, follows) {
  box.dataset.offset = more.next_offset;
  box.dataset.style = more.style;
  if (!more.html) return;
  box.insertAdjacentHTML("beforeend", more.html);
  if (follows) toEnd(box);
}

async function pause() {
  await new Promise((resolve) => { setTimeout(resolve, WAIT); });
  while (document.hidden) {
    await new Promise((resolve) => { document.addEventListener("visibilitychange", resolve, { once: true }); });
  }
}
