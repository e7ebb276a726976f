// Draws figures over time with uPlot, which is loaded before this file and is a global.
//
// <div data-charts="address of the figures"> holds one <section data-chart="utilisation" data-unit="%"
// data-most="100"> for each drawing, with a .plot to draw in and a .read that says the value under the
// pointer. All drawings of one such group share their pointer. The figures come as
//   {"from": seconds, "step": seconds, "count": 60, "lines": [{"name": "", "utilisation": [81, null, …]}]}
// and are asked for again when the page hears that something changed.
import { words } from './words.js';

const HEIGHT = 168;
const AGAIN = 10_000; // figures are asked for at most this often, ms
const GAP_LABEL = 64; // px from which on a gap is named
const HANGS = 20_000; // ms; an answer that takes longer never comes
const FRESH = 60; // s; figures younger than that are awaited, not missing
const COLOURS = 8; // of lines in one drawing; those after them are dashed
const MINUTE = 60;
const DAY = 86_400;

// Colours -----------------------------------------------------------------------------------------
// A canvas knows no custom properties: a probe tells what a token is in the theme in force.
const probe = document.createElement('span');
probe.hidden = true;
document.body.append(probe);
function colour(token) {
  probe.style.color = `var(${token})`;
  return getComputedStyle(probe).color;
}
function faded(token, alpha) {
  probe.style.color = `color-mix(in srgb, var(${token}) ${alpha * 100}%, transparent)`;
  return getComputedStyle(probe).color;
}

function hatch(context, ratio) {
  const size = Math.round(6 * ratio);
  const tile = document.createElement('canvas');
  tile.width = tile.height = size;
  const pen = tile.getContext('2d');
  pen.strokeStyle = colour('--line-strong');
  pen.lineWidth = ratio;
  pen.beginPath();
  for (const shift of [-size, 0, size]) {
    pen.moveTo(shift, size);
    pen.lineTo(shift + size, 0);
  }
  pen.stroke();
  return context.createPattern(tile, 'repeat');
}

// Words -------------------------------------------------------------------------------------------
const two = (number) => String(number).padStart(2, '0');
const clock = (at) => `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`;
const date = (at) => `${at.getUTCFullYear()}-${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())}`;

function moment(seconds, step) {
  const at = new Date(seconds * 1000);
  if (step >= DAY) return date(at);
  const time = step < MINUTE ? `${clock(at)}:${two(at.getUTCSeconds())}` : clock(at);
  return seconds < Date.now() / 1000 - DAY ? `${date(at)} ${time}` : time;
}

const figure = (value, unit) => `${Number(value.toFixed(value < 10 && value % 1 ? 1 : 0))}\u00a0${unit}`;

// One drawing -------------------------------------------------------------------------------------
// Stretches [first, last] where no line has a value.
function gaps(rows) {
  const [times, ...lines] = rows;
  const found = [];
  for (let i = 0; i < times.length; i += 1) {
    if (lines.some((line) => line[i] !== null && line[i] !== undefined)) continue;
    const last = found.at(-1);
    if (last && last[1] === i - 1) last[1] = i;
    else found.push([i, i]);
  }
  // The newest span is still being measured: that is no gap.
  const late = found.at(-1);
  if (late && late[1] === times.length - 1 && times[late[1]] - times[late[0]] < FRESH) found.pop();
  return found;
}

// Places of the values that have none beside them.
function alone(line) {
  const known = (place) => line[place] !== null && line[place] !== undefined;
  return [...line.keys()].filter((place) => known(place) && !known(place - 1) && !known(place + 1));
}

class Chart {
  constructor(section, group) {
    this.section = section;
    this.group = group;
    this.key = section.dataset.chart;
    this.unit = section.dataset.unit;
    this.area = section.querySelector('.plot');
    this.read = section.querySelector('.read');
    this.area.addEventListener('keydown', (event) => this.step(event));
    // Only the reading of the drawing that has the focus is spoken, although all of them move.
    this.area.addEventListener('focusin', () => this.read.setAttribute('aria-live', 'polite'));
    this.area.addEventListener('focusout', () => this.read.removeAttribute('aria-live'));
    this.area.addEventListener('focusout', () => this.plot?.setCursor({ left: -10, top: -10 }, true, true));
    new ResizeObserver(() => this.fit()).observe(this.area);
  }

  show({ from, step, count, lines }) {
    this.every = step;
    this.names = lines.map((line) => line.name);
    const times = Array.from({ length: count }, (_, i) => from + i * step);
    this.rows = [times, ...lines.map((line) => line[this.key])];
    this.gaps = gaps(this.rows);
    if (this.plot && this.plot.series.length === this.rows.length) {
      this.plot.setData(this.rows, false);
      this.plot.setScale('x', { min: times[0], max: times.at(-1) });
    } else {
      this.plot?.destroy();
      this.plot = new uPlot(this.options(), this.rows, this.area);
      this.area.dataset.drawn = '';
    }
    this.say(null);
  }

  options() {
    const single = this.rows.length === 2;
    const most = Number(this.section.dataset.most) || 0;
    const axis = { font: `11px ${getComputedStyle(this.area).fontFamily}`, stroke: () => colour('--text-3') };
    const grid = { stroke: () => colour('--line'), width: 1 };
    return {
      width: this.area.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      padding: [8, 18, 0, 0], // the last time stands under the end of its line
      cursor: {
        sync: { key: this.group },
        y: false,
        drag: { x: false, y: false },
        focus: single ? undefined : { prox: 24 },
        points: { size: 8, width: 2, fill: () => colour('--surface'), stroke: () => colour('--chart-line') },
      },
      focus: { alpha: 0.25 },
      scales: {
        x: { time: true, range: (_, low, high) => [low, high] },
        y: { range: (_, low, high) => [0, most || Math.max(1, (high ?? 1) * 1.1)] },
      },
      axes: [
        {
          ...axis,
          grid: { show: false },
          ticks: { show: false },
          size: 26,
          space: 70,
          values: (_, splits, __, ___, apart) =>
            splits.map((at) => (apart >= DAY ? date(new Date(at * 1000)).slice(apart > 27 * DAY ? 0 : 5, apart > 27 * DAY ? 7 : 10) : clock(new Date(at * 1000)))),
        },
        {
          ...axis,
          grid,
          ticks: { show: false },
          size: 44,
          space: 36,
          values: (_, splits) => splits.map((value, i) => (i === splits.length - 1 ? figure(value, this.unit) : figure(value, '').trim())),
        },
      ],
      series: [
        {},
        ...this.rows.slice(1).map((_line, i) => ({
          stroke: () => colour(single ? '--chart-line' : `--line-${(i % COLOURS) + 1}`),
          fill: single ? () => faded('--chart-line', 0.09) : undefined,
          dash: i < COLOURS ? undefined : [4, 3],
          width: single ? 1.75 : 1.5,
          // A value between two gaps has no line to lie on: it is a point.
          points: { show: false, filter: (plot, at) => alone(plot.data[at]), size: 5, fill: (plot, at) => plot.series[at].stroke(plot, at) },
          spanGaps: false,
        })),
      ],
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), 'Etc/UTC'),
      hooks: {
        drawClear: [(plot) => this.fillGaps(plot)],
        draw: [(plot) => this.nameGaps(plot)],
        setCursor: [(plot) => this.say(plot.cursor.left < 0 ? null : plot.cursor.idx)],
        setSeries: [(_, at) => this.focus(at)],
      },
    };
  }

  // A gap is hatched and named; nothing is drawn across it.
  fillGaps(plot) {
    const { ctx, bbox } = plot;
    const [times] = plot.data;
    if (!this.gaps.length || times.length < 2) return;
    ctx.save();
    ctx.fillStyle = hatch(ctx, devicePixelRatio);
    for (const [left, right] of this.places(plot)) ctx.fillRect(left, bbox.top, right - left, bbox.height);
    ctx.restore();
  }

  nameGaps(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    for (const [left, right] of this.places(plot)) {
      if (right - left > GAP_LABEL * devicePixelRatio) this.name(ctx, (left + right) / 2, bbox.top + bbox.height / 2);
    }
    ctx.restore();
  }

  // Where the gaps lie on the canvas: from the last value before each to the first one after it.
  places(plot) {
    const [times] = plot.data;
    const at = (place) => plot.valToPos(times[Math.min(times.length - 1, Math.max(0, place))], 'x', true);
    return this.gaps.map(([first, last]) => [at(first - 1), at(last + 1)]);
  }

  name(ctx, x, y) {
    ctx.font = `${11 * devicePixelRatio}px ${getComputedStyle(this.area).fontFamily}`;
    ctx.textAlign = 'center';
    ctx.textBaseline = 'middle';
    const wide = ctx.measureText(words.noData).width + 12 * devicePixelRatio;
    const high = 18 * devicePixelRatio;
    ctx.fillStyle = colour('--surface');
    ctx.fillRect(x - wide / 2, y - high / 2, wide, high);
    ctx.fillStyle = colour('--text-2');
    ctx.fillText(words.noData, x, y);
  }

  focus(at) {
    this.nearest = at;
    this.say(this.plot?.cursor.left < 0 ? null : this.plot?.cursor.idx);
  }

  // The value under the pointer; without one the newest that is known.
  say(at) {
    const [times, ...lines] = this.rows;
    const single = lines.length === 1;
    const line = single ? 0 : (this.nearest ?? 0) - 1;
    let place = at;
    if (place === null || place === undefined) {
      place = times.length - 1;
      while (place > 0 && lines.every((each) => each[place] === null)) place -= 1;
    }
    const known = lines.map((each) => each[place]).filter((each) => each !== null && each !== undefined);
    const when = at === null ? words.newest : moment(times[place], this.every);
    let text;
    if (!known.length) text = words.noData;
    else if (line >= 0 && lines[line][place] !== null) {
      text = (single ? '' : `${this.names[line]}  `) + figure(lines[line][place], this.unit);
    } else {
      const [low, high] = [Math.min(...known), Math.max(...known)];
      text = low === high ? figure(low, this.unit) : `${figure(low, '').trim()}–${figure(high, this.unit)}`;
    }
    const [value, time] = this.read.children;
    value.textContent = text;
    time.textContent = when;
  }

  // Arrow keys walk over the values.
  step(event) {
    const last = this.rows[0].length - 1;
    const now = this.plot.cursor.left < 0 ? last + 1 : (this.plot.cursor.idx ?? last);
    const far = Math.max(1, Math.round(last / 20));
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1, PageUp: now - far, PageDown: now + far, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const at = Math.min(last, Math.max(0, to));
    const left = this.plot.valToPos(this.rows[0][at], 'x');
    this.plot.setCursor({ left, top: HEIGHT / 2 }, true, true); // and tell the other drawings
  }

  fit() {
    const width = this.area.clientWidth;
    if (this.plot && width && width !== this.plot.width) this.plot.setSize({ width, height: HEIGHT });
  }
}

// A group -----------------------------------------------------------------------------------------
class Group {
  constructor(box, number) {
    this.box = box;
    this.asked = 0;
    this.charts = [...box.querySelectorAll('[data-chart]')].map((section) => new Chart(section, `charts-${number}`));
  }

  async load() {
    if (document.hidden || Date.now() - this.asked < AGAIN) return;
    this.asked = Date.now();
    try {
      const answer = await fetch(this.box.dataset.charts, { redirect: 'manual', signal: AbortSignal.timeout(HANGS) });
      if (!answer.ok) return; // the page's head says when somebody may no longer look
      const figures = await answer.json();
      for (const chart of this.charts) chart.show(figures);
    } catch (error) {
      // The network failed or is silent: what is drawn stays.
      if (!(error instanceof TypeError) && error.name !== 'TimeoutError') throw error;
    }
  }

  redraw() {
    for (const chart of this.charts) chart.plot?.redraw(false);
  }
}

if (globalThis.uPlot) {
  const groups = [...document.querySelectorAll('[data-charts]')].map((box, number) => new Group(box, number));
  const all = (deed) => groups.forEach(deed);
  all((group) => group.load());
  document.addEventListener('fresh', () => all((group) => group.load()));
  document.addEventListener('visibilitychange', () => all((group) => group.load()));
  const recolour = () => all((group) => group.redraw());
  new MutationObserver(recolour).observe(document.documentElement, { attributeFilter: ['data-theme'] });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', recolour);
}
