// One polite sentence for screen readers at a time, at most one in ten seconds; the newest wins.
const place = document.getElementById('announce');
const GAP = 10_000;
let last = -GAP;
let waiting = 0;
let next = '';

export function announce(sentence) {
  if (!place) return;
  next = sentence;
  if (waiting) return;
  waiting = setTimeout(() => {
    waiting = 0;
    last = performance.now();
    place.textContent = next;
  }, Math.max(0, last + GAP - performance.now()));
}
