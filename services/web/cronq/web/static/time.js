// Relative times and the header's clock, by the server's clock.

const UNITS = [["d", 86400], ["h", 3600], ["m", 60]];
let skew = 0; // server's clock minus ours, milliseconds
let known = ""; // the server's instant that the skew was taken from

/** The same words as `relative` in pages/humanize.py. */
export function relative(instant, now) {
  const seconds = Math.trunc((now - instant) / 1000);
  if (seconds === 0) return "just now";
  const length = oneUnit(Math.abs(seconds));
  return seconds > 0 ? `${length} ago` : `in ${length}`;
}

function oneUnit(seconds) {
  for (const [unit, size] of UNITS) {
    if (seconds >= size) return `${Math.floor(seconds / size)}${unit}`;
  }
  return `${seconds}s`;
}

export function startClock() {
  tick();
  setInterval(tick, 1000);
}

/** To be called after the page was refreshed, too. */
export function tick() {
  const clock = document.getElementById("clock");
  if (!clock) return;
  if (clock.dateTime !== known) {
    known = clock.dateTime;
    skew = Date.parse(known) - Date.now();
  }
  const now = Date.now() + skew;
  write(clock, `${new Date(now).toISOString().slice(11, 19)} UTC`);
  for (const time of document.querySelectorAll("time[data-relative]")) {
    write(time, relative(Date.parse(time.dateTime), now));
  }
}

function write(element, text) {
  if (element.textContent !== text) element.firstChild.nodeValue = text;
}
