// Ticks <time data-age="ago|span">. The steps are those of dashboard/presenters/times.py.
import { fill, words } from './words.js';

// Ages count by the server's clock: the page carries its time, stamped when the answer began.
const began = performance.timeOrigin + (performance.getEntriesByType('navigation')[0]?.responseStart ?? 0);
const ahead = Number(document.documentElement.dataset.now) * 1000 - began;
const now = () => Date.now() + ahead;

export function span(seconds) {
  const whole = Math.floor(Math.abs(seconds));
  if (whole < 60) return fill(words.s, { count: whole });
  if (whole < 3600) return fill(words.min, { count: Math.floor(whole / 60) });
  if (whole < 86400) return fill(words.h, { count: Math.floor(whole / 3600) });
  return fill(words.d, { count: Math.floor(whole / 86400) });
}

function spoken(seconds, form) {
  if (form === 'span') return span(seconds);
  // The server's stamp has no fractions: a second into the future is the present.
  if (seconds < 1 && seconds > -2) return words.now;
  return fill(seconds < 0 ? words.in : words.ago, { span: span(seconds) });
}

function tick() {
  if (document.hidden) return;
  for (const time of document.querySelectorAll('time[data-age]')) {
    const seconds = (now() - Date.parse(time.dateTime)) / 1000;
    const text = spoken(seconds, time.dataset.age);
    if (time.textContent !== text) time.textContent = text;
    const source = time.closest('[data-limit]');
    if (!source) continue;
    const late = seconds > Number(source.dataset.limit);
    source.classList.toggle('stale', late);
    for (const part of source.querySelectorAll('[data-late]')) part.hidden = !late;
  }
}

tick();
setInterval(tick, 1000);
document.addEventListener('visibilitychange', tick);
// The server counts from the fraction of the second, and its words would turn the clock back until the next tick.
document.addEventListener('fresh', tick);
