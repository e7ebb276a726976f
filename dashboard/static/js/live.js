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
const STALE = 30_000; // a question without an answer for so long, and the head says so
const REST = 60_000; // a region asks at least this often: lines get lost, and some words change with time alone
const SILENT = 45_000; // the server says at least every 15 s that its stream lives
const HANGS = 20_000; // an answer that takes longer never comes
const NAME = 'pilothouse-live';

const badge = document.getElementById('live');
const channel = new BroadcastChannel(NAME);
const regions = () => [...document.querySelectorAll('[data-live][data-src]')];
const states = new WeakMap(); // region -> what stateOf() makes

let mode = ''; // live, poll, or '' while nobody knows
let upgraded = '';
let heard = Date.now(); // when the stream last said anything, here or to the tab that reads it
let release = null;
let waiting = null;
let stream = null;
let retry = 0;
let tries = 0;

// Regions ---------------------------------------------------------------------------------------
// owed: since when an answer is waited for, 0 where none is.
function stateOf(region) {
  if (!states.has(region)) {
    states.set(region, { next: 0, timer: 0, busy: false, again: false, owed: 0, answered: Date.now(), trouble: '' });
  }
  return states.get(region);
}

function refresh(region) {
  const state = stateOf(region);
  if (state.busy) state.again = true;
  if (document.hidden) return;
  state.owed ||= Date.now();
  if (state.busy || state.timer) return;
  state.timer = setTimeout(() => load(region, state), Math.max(0, state.next - Date.now()));
}

async function load(region, state) {
  state.timer = 0;
  state.busy = true;
  state.again = false;
  state.next = Date.now() + GAP + Math.random() * JITTER;
  const hangs = new AbortController();
  const late = setTimeout(() => hangs.abort(), HANGS);
  try {
    const answer = await fetch(region.dataset.src, { headers: { 'X-Fragment': '1' }, redirect: 'manual', signal: hangs.signal });
    await take(region, state, answer);
  } catch (error) {
    // fetch rejects with a TypeError when the network fails
    if (!(error instanceof TypeError) && !hangs.signal.aborted) throw error;
  } finally {
    clearTimeout(late);
    state.busy = false;
    show();
  }
  if (state.again && region.isConnected) refresh(region);
}

async function take(region, state, answer) {
  const final = { 401: words.signedOut, 403: words.refused, 404: words.gone };
  const trouble = answer.type === 'opaqueredirect' ? words.signedOut : final[answer.status] ?? '';
  if (!trouble && !answer.ok) {
    state.next = Date.now() + 1000 * (Number(answer.headers.get('Retry-After')) || 5);
    return;
  }
  const html = trouble || answer.status === 204 ? '' : await answer.text();
  const built = answer.headers.get('X-Built');
  if (built) upgraded = built === document.documentElement.dataset.built ? '' : words.upgraded;
  state.trouble = trouble;
  state.owed = 0;
  state.answered = Date.now();
  if (html) replace(region, html);
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

// Without the stream every region; with it those that still wait for an answer, or had none for long.
function poll() {
  if (document.hidden) return;
  if (Date.now() - heard > SILENT) lose();
  if (mode !== 'live') mode = 'poll';
  for (const region of regions()) {
    const { owed, answered } = stateOf(region);
    if (mode === 'poll' || owed || Date.now() - answered > REST) refresh(region);
  }
}

// Every line counts, whatever its version: an operation that goes on announces its deployment and its cluster
// too, with its own version, and by that measure they would seem to stand still for a long time afterwards.
function line({ o }) {
  for (const region of regions()) if (region.dataset.live.split(' ').includes(o)) refresh(region);
}

// The head ----------------------------------------------------------------------------------------
// What is wrong with a part of the page, or how long the longest of those that wait has not been updated.
function wrong() {
  const all = regions().map(stateOf);
  const trouble = all.find((state) => state.trouble)?.trouble || upgraded;
  if (trouble) return trouble;
  const late = all.filter(({ owed }) => owed && Date.now() - owed > STALE).map(({ answered }) => answered);
  return late.length ? fill(words.off, { span: span((Date.now() - Math.min(...late)) / 1000) }) : '';
}

function show() {
  const off = wrong();
  const [face, live, asks, dead] = [badge.firstElementChild, ...badge.querySelectorAll('svg')];
  // A page whose menu alone is live must not call itself so.
  face.hidden = !(off || (mode && document.querySelector('main [data-live][data-src]')));
  live.toggleAttribute('hidden', Boolean(off) || mode !== 'live');
  asks.toggleAttribute('hidden', Boolean(off) || mode !== 'poll');
  dead.toggleAttribute('hidden', !off);
  badge.classList.toggle('off', Boolean(off));
  badge.classList.toggle('poll', !off && mode === 'poll');
  const text = off || (words[mode] ?? '');
  if (face.lastElementChild.textContent !== text) face.lastElementChild.textContent = text;
}

function become(next, fresh) {
  heard = Date.now();
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
  stream.addEventListener('beat', () => tell('live', false));
  stream.onmessage = ({ data }) => {
    heard = Date.now();
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

// The stream broke off without a word, as after a sleep; in another tab it may have.
function lose() {
  if (stream) {
    stream.close();
    clearTimeout(retry);
    tell('poll', false);
    open();
  } else become('poll', false);
}

function start() {
  if (waiting || document.hidden || !regions().length) return;
  waiting = new AbortController();
  const lead = () => new Promise((done) => {
    release = done;
    heard = Date.now();
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
  else if (data.line) {
    heard = Date.now();
    line(data.line);
  }
};

if (badge && regions().length) {
  start();
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return stop();
    heard = Date.now();
    start();
    refreshAll(); // whatever was said while nobody listened
  });
  addEventListener('pagehide', stop);
  addEventListener('pageshow', (event) => {
    if (!event.persisted) return;
    start();
    refreshAll();
  });
  setInterval(() => {
    poll();
    show();
  }, POLL);
}
