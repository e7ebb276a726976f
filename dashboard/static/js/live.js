// Keeps regions of the page fresh. A region is <… data-live="operation:1207 deployment:3" data-src="/fragments/…">;
// its fragment is the same element again, rendered by the same template.
//
// One stream serves all tabs of a browser: whoever holds the lock reads it and tells the others. A hidden tab
// gives the lock up. Lines carry no data, only {"o": "operation:1207", "v": 12}: each tab asks for its own fragments.
import { span } from './ages.js';
import { announce } from './announce.js';
import { morph } from './morph.js';
import { fill, words } from './words.js';

const GAP = 1000; // a region asks at most this often, ms
const JITTER = 300;
const POLL = 10_000;
const STALE = 30_000; // without an answer for so long, the head says so
const NAME = 'pilothouse-live';

const badge = document.getElementById('live');
const channel = new BroadcastChannel(NAME);
const regions = () => [...document.querySelectorAll('[data-live][data-src]')];
const timing = new WeakMap(); // region -> {next, timer, busy, again}

let mode = ''; // live, poll, or '' while nobody knows
let trouble = '';
let answered = Date.now();
let release = null;
let waiting = null;
let stream = null;
let retry = 0;
let tries = 0;

// Regions ---------------------------------------------------------------------------------------
function refresh(region) {
  const state = timing.get(region) ?? { next: 0, timer: 0, busy: false, again: false };
  timing.set(region, state);
  if (state.busy) state.again = true;
  if (state.busy || state.timer || document.hidden) return;
  state.timer = setTimeout(() => load(region, state), Math.max(0, state.next - Date.now()));
}

async function load(region, state) {
  state.timer = 0;
  state.busy = true;
  state.again = false;
  state.next = Date.now() + GAP + Math.random() * JITTER;
  try {
    const answer = await fetch(region.dataset.src, { headers: { 'X-Fragment': '1' }, redirect: 'manual' });
    await take(region, state, answer);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // fetch rejects with a TypeError when the network fails
  } finally {
    state.busy = false;
    show();
  }
  if (state.again && region.isConnected) refresh(region);
}

async function take(region, state, answer) {
  if (answer.type === 'opaqueredirect' || answer.status === 401) trouble = words.signedOut;
  else if (answer.status === 403) trouble = words.refused;
  else if (answer.status === 404) trouble = words.gone;
  else if (!answer.ok) state.next = Date.now() + 1000 * (Number(answer.headers.get('Retry-After')) || 5);
  else {
    trouble = '';
    answered = Date.now();
    if (answer.status !== 204) replace(region, await answer.text());
  }
}

function replace(region, html) {
  const box = document.createElement('template');
  box.innerHTML = html;
  const fresh = box.content.firstElementChild;
  if (!fresh || !region.isConnected) return;
  const said = region.dataset.say;
  morph(region, fresh);
  if (region.dataset.say && region.dataset.say !== said) announce(region.dataset.say);
  region.dispatchEvent(new CustomEvent('fresh', { bubbles: true }));
}

const refreshAll = () => regions().forEach(refresh);

// Every line counts, whatever its version: an operation that goes on announces its deployment and its cluster
// too, with its own version, and by that measure they would seem to stand still for a long time afterwards.
function line({ o }) {
  answered = Date.now();
  for (const region of regions()) if (region.dataset.live.split(' ').includes(o)) refresh(region);
}

// The head ----------------------------------------------------------------------------------------
function show() {
  const silent = Date.now() - answered;
  const off = trouble || (mode === 'poll' && silent > STALE);
  const [face, live, poll, dead] = [badge.firstElementChild, ...badge.querySelectorAll('svg')];
  face.hidden = !(mode || trouble);
  live.toggleAttribute('hidden', Boolean(off) || mode !== 'live');
  poll.toggleAttribute('hidden', Boolean(off) || mode !== 'poll');
  dead.toggleAttribute('hidden', !off);
  badge.classList.toggle('off', Boolean(off));
  badge.classList.toggle('poll', !off && mode === 'poll');
  const text = trouble || (off ? fill(words.off, { span: span(silent / 1000) }) : words[mode] ?? '');
  if (face.lastElementChild.textContent !== text) face.lastElementChild.textContent = text;
}

function become(next, fresh) {
  mode = next;
  if (fresh) refreshAll();
  show();
}

// The stream --------------------------------------------------------------------------------------
function tell(next, fresh) {
  become(next, fresh);
  channel.postMessage({ mode: next, fresh });
}

function open() {
  stream = new EventSource(badge.dataset.stream);
  stream.onopen = () => {
    tries = 0;
    tell('live', true);
  };
  stream.onmessage = ({ data }) => {
    const parsed = JSON.parse(data);
    line(parsed);
    channel.postMessage({ line: parsed });
  };
  // More changed than the stream could hold for this page: ask for everything once.
  stream.addEventListener('refresh', () => tell('live', true));
  stream.onerror = () => {
    tell('poll', false);
    // The browser reconnects by itself unless the server refused.
    if (stream.readyState !== EventSource.CLOSED) return;
    tries += 1;
    retry = setTimeout(open, Math.min(30_000, 1000 * 2 ** tries) * (0.75 + Math.random() / 2));
  };
}

function start() {
  if (waiting || document.hidden || !regions().length) return;
  waiting = new AbortController();
  const lead = () => new Promise((done) => {
    release = done;
    open();
  });
  // Locks exist in secure contexts only; elsewhere every visible tab reads a stream of its own.
  if (navigator.locks) navigator.locks.request(NAME, { signal: waiting.signal }, lead).catch(() => {});
  else lead();
  channel.postMessage({ hello: true });
}

function stop() {
  waiting?.abort();
  release?.();
  stream?.close();
  clearTimeout(retry);
  waiting = release = stream = null;
}

channel.onmessage = ({ data }) => {
  if (data.hello && release && mode) channel.postMessage({ mode, fresh: false });
  else if (data.mode && !release) become(data.mode, data.fresh);
  else if (data.line) line(data.line);
};

if (badge && regions().length) {
  start();
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return stop();
    start();
    refreshAll(); // whatever was said while nobody listened
  });
  addEventListener('pagehide', stop);
  addEventListener('pageshow', (event) => {
    if (event.persisted) start();
  });
  setInterval(() => {
    if (mode !== 'live' && !document.hidden) {
      mode ||= 'poll';
      refreshAll();
    }
    show();
  }, POLL);
}
