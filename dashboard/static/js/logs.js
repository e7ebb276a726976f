// The page of a log: reads its stream, keeps the last lines, searches them.
//
// The stream is that of dashboard/log_streams.py. Every message with lines has an id; whoever comes back gives
// the last one and gets what came later. A hidden tab reads nothing.
import { fill } from './words.js';

const box = document.getElementById('log');
const KEEP = 5000; // lines
const KEEP_TEXT = 8_000_000; // characters of them together
const MOST_MARKS = 2000; // matches that are coloured
const SLOWEST = 30_000; // ms between two attempts
const MOST_TABS = 4; // of one browser that read a log at once
const SILENT = 45_000; // ms; the server says at least every 15 s that it is there

const text = box?.dataset;
const tools = document.getElementById('log-tools');
const status = document.getElementById('log-status');
const trouble = document.getElementById('log-problem');
const toEnd = document.getElementById('log-end');
const pause = document.getElementById('log-pause');
const search = document.getElementById('log-search');
const number = new Intl.NumberFormat(document.documentElement.lang);

// Lines -------------------------------------------------------------------------------------------
const rows = []; // {element, code, size}
let size = 0;
let seen = 0;
let stick = true; // the view stays at the newest line

function row([stamp, line, cut, mark]) {
  const element = document.createElement('div');
  element.className = mark ? `l ${mark[0]}` : 'l';
  const time = document.createElement('time');
  time.textContent = stamp.slice(11, 23);
  time.title = stamp;
  const code = document.createElement('code');
  code.textContent = line || ' ';
  element.append(time, code);
  if (cut) {
    const more = document.createElement('i');
    more.textContent = fill(text.cut, { count: number.format(cut) });
    element.append(more);
  }
  return { element, code, size: line.length + 50 };
}

function note(sentence) {
  const element = document.createElement('div');
  element.className = 'l note';
  const code = document.createElement('code');
  code.textContent = sentence;
  element.append(code);
  return { element, code, size: sentence.length };
}

function add(fresh) {
  const part = document.createDocumentFragment();
  for (const each of fresh) {
    part.append(each.element);
    rows.push(each);
    size += each.size;
    match(each);
  }
  let over = 0;
  while (rows.length - over > KEEP || (size > KEEP_TEXT && rows.length - over > 1)) {
    size -= rows[over].size;
    over += 1;
  }
  for (const old of rows.splice(0, over)) {
    forget(old);
    old.element.remove();
  }
  box.append(part);
  if (stick) box.scrollTop = box.scrollHeight;
  else toEnd.hidden = false;
  count();
}

box?.addEventListener('scroll', () => {
  stick = box.scrollHeight - box.scrollTop - box.clientHeight < 30;
  if (stick) toEnd.hidden = true;
}, { passive: true });
toEnd?.addEventListener('click', () => {
  box.scrollTop = box.scrollHeight;
});
// A turned phone or a wrapped line must not lose the newest.
if (box) new ResizeObserver(() => { if (stick) box.scrollTop = box.scrollHeight; }).observe(box);

// Search ------------------------------------------------------------------------------------------
const marks = globalThis.Highlight && CSS.highlights ? new Highlight() : null;
if (marks) CSS.highlights.set('log-search', marks);
const hits = [];
let pattern = null;
let at = -1;

function match(each) {
  each.element.classList.remove('hit', 'here');
  if (!pattern) return;
  const found = [...each.code.textContent.matchAll(pattern)];
  if (!found.length) return;
  each.element.classList.add('hit');
  hits.push(each);
  each.ranges = [];
  for (const { index, 0: word } of marks && marks.size < MOST_MARKS ? found.slice(0, 50) : []) {
    const range = new StaticRange({
      startContainer: each.code.firstChild, startOffset: index,
      endContainer: each.code.firstChild, endOffset: index + word.length,
    });
    marks.add(range);
    each.ranges.push(range);
  }
}

function forget(each) {
  for (const range of each.ranges ?? []) marks.delete(range);
  if (hits[0] === each) {
    hits.shift();
    at = Math.max(-1, at - 1);
  }
}

function find() {
  hits.length = 0;
  at = -1;
  marks?.clear();
  pattern = search.value ? new RegExp(search.value.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'), 'gi') : null;
  for (const each of rows) match(each);
  if (hits.length) go(hits.length - 1);
  count();
}

function go(to) {
  hits[at]?.element.classList.remove('here');
  at = (to + hits.length) % hits.length;
  const { element } = hits[at];
  element.classList.add('here');
  element.scrollIntoView({ block: 'nearest', inline: 'nearest' });
}

function count() {
  const place = tools.querySelector('[data-hits]');
  let words = '';
  if (pattern) words = hits.length ? fill(text.hits, { n: number.format(at + 1), count: number.format(hits.length) }) : text.nothing;
  if (place.textContent !== words) place.textContent = words;
  for (const button of tools.querySelectorAll('[data-to]')) button.disabled = !hits.length;
}

let typing = 0;
search?.addEventListener('input', () => {
  clearTimeout(typing);
  typing = setTimeout(find, 150);
});
search?.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter') return;
  event.preventDefault();
  if (hits.length) go(at + (event.shiftKey ? -1 : 1));
  count();
});
tools?.addEventListener('click', ({ target }) => {
  const step = target.closest('[data-to]');
  if (!step || !hits.length) return;
  go(at + Number(step.dataset.to));
  count();
});
tools?.addEventListener('change', ({ target }) => {
  if (!target.dataset.look) return;
  box.classList.toggle(target.dataset.look, target.checked);
  if (stick) box.scrollTop = box.scrollHeight;
});

// The stream --------------------------------------------------------------------------------------
let place = '';
let reading = null; // AbortController of the open stream
let timer = 0;
let wait = 1000;
let heard = 0; // when the stream last said anything
let paused = false;
let over = false; // there is no more to come

function say(words) {
  const parts = [words];
  if (seen) parts.push(fill(text.lines, { count: number.format(seen) }));
  if (seen > KEEP) parts.push(fill(text.kept, { count: number.format(rows.length) }));
  const sentence = parts.filter(Boolean).join(' · ');
  if (status.textContent !== sentence) status.textContent = sentence;
}

function complain({ sentence, answered = '', remedy = '', retryable = false }) {
  const [lead, rest, said] = [trouble.querySelector('b'), ...trouble.querySelectorAll('span')];
  lead.textContent = sentence;
  rest.textContent = remedy;
  said.textContent = answered;
  trouble.classList.toggle('warn', retryable);
  trouble.classList.toggle('fail', !retryable);
  trouble.hidden = false;
}

function later(words) {
  if (paused || over || document.hidden) return;
  say(`${words} ${fill(text.again, { count: Math.round(wait / 1000) })}`);
  timer = setTimeout(connect, wait);
  wait = Math.min(SLOWEST, wait * 2);
}

const handlers = {
  open() {
    trouble.hidden = true;
    say(text.following);
  },
  lines({ lines, missed }, id) {
    place = id || place;
    wait = 1000;
    seen += lines.length;
    const fresh = lines.map(row);
    if (missed) fresh.unshift(note(fill(text.missed, { count: number.format(missed) })));
    add(fresh);
    say(text.following);
  },
  problem(data) {
    complain(data);
    if (data.retryable) later('');
    else {
      over = true;
      say('');
    }
  },
  end({ again }) {
    if (again) return later(text.next);
    over = true;
    say(text.ended);
  },
};

function take(message) {
  let event = '';
  let id = '';
  let data = '';
  for (const line of message.split('\n')) {
    if (line.startsWith('event: ')) event = line.slice(7);
    else if (line.startsWith('id: ')) id = line.slice(4);
    else if (line.startsWith('data: ')) data = line.slice(6);
  }
  if (!event) return false;
  handlers[event]?.(JSON.parse(data), id);
  return event === 'end' || event === 'problem';
}

// Reads until the stream says that it ended; true then, false where it broke off.
async function read(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return false;
    heard = Date.now();
    held += value;
    const messages = held.split('\n\n');
    held = messages.pop();
    for (const message of messages) if (take(message)) return true;
  }
}

// A browser has six connections to a host without HTTP/2: of all its tabs together a few read logs, so that the
// others can still load pages. Resolves to what gives the place back, or to null where none is free.
async function seat() {
  if (!navigator.locks) return () => {};
  for (let number = 0; number < MOST_TABS; number += 1) {
    const free = await new Promise((resolve) => {
      const hold = (lock) => (lock ? new Promise((done) => resolve(done)) : resolve(null));
      navigator.locks.request(`pilothouse-log-${number}`, { ifAvailable: true }, hold);
    });
    if (free) return free;
  }
  return null;
}

async function connect() {
  stop();
  if (paused || over || document.hidden) return;
  const mine = new AbortController();
  reading = mine;
  heard = 0;
  const free = await seat();
  if (!free && !mine.signal.aborted) {
    reading = null;
    complain({ sentence: text.crowded, retryable: true });
    return later('');
  }
  if (mine.signal.aborted) return free?.();
  heard = Date.now();
  say(text.connecting);
  const slow = setTimeout(() => { if (reading === mine && !seen) say(text.quiet); }, 5000);
  try {
    const after = place ? `&after=${encodeURIComponent(place)}` : '';
    const answer = await fetch(box.dataset.stream + after, { signal: mine.signal, cache: 'no-store' });
    if (!answer.ok) await refused(answer);
    else if (!await read(answer)) later(text.lost);
  } catch (error) {
    if (mine.signal.aborted) return;
    if (!(error instanceof TypeError)) throw error; // fetch and its reader reject with a TypeError when the network fails
    later(text.lost);
  } finally {
    clearTimeout(slow);
    free();
    mine.abort();
    if (reading === mine) reading = null;
  }
}

async function refused(answer) {
  const plain = answer.headers.get('Content-Type')?.startsWith('text/plain');
  const known = { 401: text.signedOut, 404: text.gone };
  const sentence = known[answer.status] ?? (plain ? await answer.text() : text.lost);
  const retryable = answer.status === 429 || answer.status >= 500;
  complain({ sentence, retryable });
  if (retryable) {
    wait = Math.max(wait, 1000 * (Number(answer.headers.get('Retry-After')) || 5));
    return later('');
  }
  over = true;
  say('');
}

function stop() {
  clearTimeout(timer);
  reading?.abort();
  reading = null;
}

function start() {
  wait = 1000;
  connect();
}

pause?.addEventListener('click', () => {
  paused = !paused;
  pause.setAttribute('aria-pressed', String(paused));
  pause.querySelector('span').textContent = paused ? text.resume : text.pause;
  if (paused) {
    stop();
    say(text.paused);
  } else start();
});

if (box) {
  tools.hidden = false;
  trouble.querySelector('button').addEventListener('click', () => {
    over = false;
    trouble.hidden = true;
    start();
  });
  document.addEventListener('visibilitychange', () => (document.hidden ? stop() : start()));
  addEventListener('pagehide', stop);
  // A connection that died without a word, as after a sleep.
  setInterval(() => {
    if (reading && heard && Date.now() - heard > SILENT) connect();
  }, 10_000);
  addEventListener('pageshow', (event) => {
    if (event.persisted) start();
  });
  start();
}

// The choice of a log takes effect at once.
const choice = document.getElementById('log-choice');
if (choice) {
  choice.querySelector('[data-plain]').hidden = true;
  choice.addEventListener('change', () => choice.requestSubmit());
}
