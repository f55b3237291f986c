// Subscribes to sensors/+ over WebSocket and draws a line for each topic whose values are numbers.
//
// ?broker=wss://broker.example:8084/mqtt says where the broker is. Otherwise it is on the machine that
// this page came from, on port 8083.

'use strict';

const FILTER = 'sensors/+';
// What strangers publish has an end here, too.
const TOPICS_MAX = 64;
const POINTS_MAX = 300;
const WORDS_MAX = 500;

const topics = new Map();
const state = document.getElementById('state');

function broker() {
  const given = new URLSearchParams(location.search).get('broker');
  return given ?? `ws://${location.hostname || 'localhost'}:8083/mqtt`;
}

function show(word, more = '') {
  state.dataset.state = word;
  state.textContent = more ? `${word}: ${more}` : word;
}

function element(name, className, parent) {
  const made = document.createElement(name);
  if (className) made.className = className;
  parent.append(made);
  return made;
}

/** The card of a topic; undefined if there are too many. */
function card(topic) {
  if (!topics.has(topic) && topics.size < TOPICS_MAX) {
    document.getElementById('empty').hidden = true;
    const root = element('section', '', document.getElementById('topics'));
    root.dataset.topic = topic;
    element('h2', '', root).textContent = topic;
    topics.set(topic, { root, value: element('p', 'value', root), points: [], chart: null });
  }
  return topics.get(topic);
}

function chart(root) {
  const SVG = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 100 100');
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(SVG, 'path');
  svg.append(path);
  root.append(svg);
  const range = element('p', 'range', root);
  return { path, low: element('span', '', range), span: element('span', '', range), high: element('span', '', range) };
}

function receive(topic, payload) {
  const held = card(topic);
  if (!held) return;
  const words = new TextDecoder().decode(payload.subarray(0, WORDS_MAX));
  held.value.textContent = words;
  const number = Number(words);
  const isNumber = words.trim() !== '' && Number.isFinite(number);
  held.root.classList.toggle('words', !isNumber);
  if (!isNumber) return;
  held.points.push({ at: performance.now(), number });
  if (held.points.length > POINTS_MAX) held.points.shift();
  held.root.dataset.points = held.points.length;
  held.chart ??= chart(held.root);
  draw(held);
}

function draw({ points, chart: { path, low, span, high } }) {
  const numbers = points.map((point) => point.number);
  const [least, most] = [Math.min(...numbers), Math.max(...numbers)];
  const [first, last] = [points[0].at, points[points.length - 1].at];
  const x = (at) => (last > first ? ((at - first) / (last - first)) * 100 : 0);
  const y = (number) => (most > least ? 95 - ((number - least) / (most - least)) * 90 : 50);
  const steps = points.map(({ at, number }) => `${x(at).toFixed(2)},${y(number).toFixed(2)}`);
  path.setAttribute('d', `M${steps.join('L')}`);
  low.textContent = `min ${least}`;
  high.textContent = `max ${most}`;
  span.textContent = `${points.length} values in ${((last - first) / 1000).toFixed(1)} s`;
}

// It comes back by itself, and asks again for what it had asked for.
const client = mqtt.connect(broker(), { protocolVersion: 5, reconnectPeriod: 1000 });
client.on('connect', () => {
  client.subscribe(FILTER, { qos: 1 }, (error, granted) => {
    const refused = error ?? (granted?.[0]?.qos >= 128 ? new Error('the broker refuses the subscription') : null);
    if (refused) show('failed', refused.message);
    else show('connected');
  });
});
client.on('close', () => show('reconnecting'));
client.on('error', (error) => show('failed', error.message));
client.on('message', receive);
