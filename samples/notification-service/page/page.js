/**
 * The page of the notification sample: shows the snapshots that arrive over /api/live, and turns clicks into requests. Keeps nothing: a reload
 * shows the same.
 */
import { Charts } from './charts.js';
import { events, format, tell } from './story.js';
import { Wires } from './wires.js';

const LOADS = [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000];
const FEED_MAX = 40;
/** More than this many new lines in a quarter of a second cannot be read, and movement only blurs them. */
const NEW_LINES_MAX = 4;
const MOVING_LINES_MAX = 2;
const SNAPSHOT_MS = 250;
const QUEUE_SLOTS = 28;
/** A notification that comes later than this has waited, and says so. */
const LATE_MS = 1_500;

const SENDERS = {
  posts: 'PostPublished',
  groups: 'MemberJoined',
  likes: 'PostLiked',
  orders: 'OrderPlaced',
  payments: 'PaymentReceived',
};
const NOTIFIERS = { 'notifications-1': 'Notification service', 'notifications-2': 'Another one' };

const get = (id) => document.getElementById(id);
const cards = new Map();
const wires = new Wires(get('wires'));
const charts = new Charts();
let last;
let loadBefore = 5;

build();
connect();

function build() {
  for (const [name, event] of Object.entries(SENDERS)) addCard(get('senders'), name, title(name), event, 'send');
  addCard(get('middle'), 'broker', 'Broker', 'built in · AMQP 0-9-1 · fsync');
  get('middle').querySelector('.card').insertAdjacentHTML('beforeend', queueMarkup());
  for (const [name, label] of Object.entries(NOTIFIERS))
    addCard(get('notifiers'), name, label, name.endsWith('1') ? 'sends what people should hear' : 'start it, and the two share the work');
  for (const name of Object.keys(SENDERS)) wires.add(name, cards.get(name).element, cards.get('broker').element);
  for (const name of Object.keys(NOTIFIERS)) wires.add(name, cards.get('broker').element, cards.get(name).element);
  wires.lay();

  get('load').addEventListener('input', (change) => setLoad(LOADS[change.target.value]));
  get('load-toggle').addEventListener('click', () => setLoad(last?.load > 0 ? 0 : loadBefore));
  get('pace').addEventListener('change', (change) => ask('pace', { ms: Number(change.target.value) }));
}

function queueMarkup() {
  const slots = '<i></i>'.repeat(QUEUE_SLOTS);
  return `<div class="queue"><p><b id="depth">0</b> <span id="depth-says">waiting</span></p><div class="slots" aria-hidden="true">${slots}</div><p class="says">queue <code>dovecote.notifications</code></p></div>`;
}

function addCard(column, name, label, says, isSender) {
  const element = get('service').content.firstElementChild.cloneNode(true);
  const icon = name.startsWith('notifications') ? 'notifications' : name;
  element.classList.add(`kind-${icon}`);
  element.dataset.name = name;
  element.querySelector('use').setAttribute('href', `#icon-${icon}`);
  element.querySelector('h3').textContent = label;
  element.querySelector('.says').textContent = says;
  const send = element.querySelector('.send');
  if (isSender) send.addEventListener('click', () => ask(`senders/${name}/happen`));
  else send.remove();
  send.setAttribute('aria-label', `Send one ${says} event`);
  const power = element.querySelector('.power');
  power.addEventListener('click', () => ask(`processes/${name}/${power.dataset.does}`));
  column.append(element);
  const [count, unit] = element.querySelectorAll('.count > *');
  cards.set(name, { element, label, send, power, count, unit, says: element.querySelector('.says'), total: undefined });
}

function connect() {
  const live = new EventSource('api/live');
  live.addEventListener('open', () => link('live', 'Live'));
  // EventSource asks again by itself; until somebody answers, what is shown is old.
  live.addEventListener('error', () => link('gone', 'No answer. Is it still running? Start it with npm start.'));
  live.addEventListener('past', (message) => {
    const { points, notifications } = JSON.parse(message.data);
    charts.set(points);
    get('feed').replaceChildren();
    notifications.forEach(addNotification);
  });
  live.addEventListener('snapshot', (message) => show(JSON.parse(message.data)));
}

function link(state, text) {
  document.body.dataset.link = state;
  get('link').textContent = text;
}

function show(snapshot) {
  showCounters(snapshot);
  showStory(snapshot);
  showQueue(snapshot);
  for (const process of snapshot.processes) showProcess(process, snapshot);
  if (!snapshot.isBrokerOurs) showForeignBroker();
  showControls(snapshot);
  get('feed').classList.toggle('still', snapshot.notifications.length > MOVING_LINES_MAX);
  for (const notification of snapshot.notifications.slice(-NEW_LINES_MAX)) addNotification(notification);
  if (snapshot.point) showPoint(snapshot.point);
  last = snapshot;
}

function showCounters({ counters }) {
  for (const name of ['sent', 'confirmed', 'handled', 'duplicate', 'lost']) get(`count-${name}`).textContent = format(counters[name]);
  get('lost').classList.toggle('bad', counters.lost > 0);
}

function showStory(snapshot) {
  const { mood, text, action } = tell(snapshot, isGrowing());
  const story = get('story');
  story.parentElement.dataset.mood = mood;
  if (story.textContent !== text) story.textContent = text;
  const key = action ? `${action.label} ${action.start ?? action.kill}` : '';
  const place = get('action');
  if (place.dataset.key === mood + key) return;
  place.dataset.key = mood + key;
  // Who listens instead of looking hears the sentence when the situation changes, not with every number in it.
  get('story-heard').textContent = text;
  place.replaceChildren();
  if (!action) return;
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = action.label;
  button.addEventListener('click', () => ask(action.start ? `processes/${action.start}/start` : `processes/${action.kill}/kill`));
  place.append(button);
}

/** Compared with two seconds ago. */
function isGrowing() {
  const [before, now] = [charts.points.at(-5), charts.points.at(-1)];
  return before !== undefined && now.depth > before.depth + 20;
}

function showQueue({ queue }) {
  const depth = queue?.ready;
  get('depth').textContent = depth === undefined ? '–' : format(depth);
  get('depth-says').textContent = depth === undefined ? 'out of sight' : 'waiting';
  // Few messages are shown one by one, many by their order of magnitude: a full row is a hundred thousand.
  const filled =
    depth === undefined ? 0 : Math.min(QUEUE_SLOTS, depth <= 5 ? depth : Math.round(5 + ((QUEUE_SLOTS - 5) * Math.log10(depth / 5)) / 4.3));
  get('middle')
    .querySelectorAll('.slots i')
    .forEach((slot, index) => slot.classList.toggle('full', index >= QUEUE_SLOTS - filled));
}

function showProcess({ name, state, pid, count }, snapshot) {
  const card = cards.get(name);
  const isUp = state === 'running';
  const isGoing = state === 'starting' || state === 'stopping';
  card.element.dataset.state = state;
  card.power.dataset.does = isUp ? 'kill' : 'start';
  card.power.disabled = isGoing;
  card.power.textContent = isUp ? 'Kill' : isGoing ? 'Starting' : 'Start';
  card.power.title = isUp ? `kill -9 ${pid}` : '';
  card.power.setAttribute('aria-label', `${card.power.textContent} ${card.label}`);
  card.send.disabled = !isUp;
  const news = card.total === undefined ? 0 : count - card.total;
  card.total = count;
  if (name === 'notifications-2') card.says.textContent = isUp ? 'the two share the work' : 'start it, and the two share the work';
  if (name === 'broker') return;
  card.count.textContent = format(count);
  card.unit.textContent = name in SENDERS ? 'sent' : 'handled';
  const broker = snapshot.processes.find((process) => process.name === 'broker');
  wires.set(name, isUp && (broker === undefined || broker.state === 'running'));
  if (news > 0) wires.travel(name, news, name in SENDERS ? name : 'notifications', SNAPSHOT_MS);
}

function showForeignBroker() {
  const { element, says } = cards.get('broker');
  element.classList.add('foreign');
  says.textContent = 'another one, as --broker-url said';
}

function showControls({ load, pace }) {
  if (load > 0) loadBefore = load;
  const slider = get('load');
  if (document.activeElement !== slider || load === 0) slider.value = String(LOADS.findLastIndex((step) => step <= load));
  const says = load === 0 ? 'off' : `${events(load)} a second`;
  slider.setAttribute('aria-valuetext', says);
  get('load-says').textContent = says;
  get('load-toggle').textContent = load > 0 ? 'Stop' : 'Start';
  if (document.activeElement !== get('pace')) get('pace').value = String(pace);
}

function showPoint(point) {
  charts.add(point);
  const recent = charts.points.slice(-4);
  const mean = (name) => recent.reduce((sum, one) => sum + one[name], 0) / recent.length;
  get('depth-now').textContent = point.depth === null ? 'out of sight' : format(point.depth);
  get('rate-sent').textContent = rate(mean('sent'));
  get('rate-handled').textContent = rate(mean('handled'));
  get('feed-rate').textContent = `${rate(mean('handled'))} a second`;
}

const rate = (value) => (value < 10 ? value.toFixed(1) : format(Math.round(value)));

function addNotification({ type, to, text, waitedMs, by }) {
  const kind = type.split('.')[0];
  const line = document.createElement('li');
  line.className = `kind-${kind}`;
  line.innerHTML = '<svg class="icon" aria-hidden="true"><use /></svg><p><b></b> <span></span></p><small></small>';
  line.querySelector('use').setAttribute('href', `#icon-${kind}`);
  line.querySelector('b').textContent = to;
  line.querySelector('span').textContent = text;
  const waited = line.querySelector('small');
  waited.textContent = after(waitedMs);
  line.title = `sent by ${by}`;
  waited.classList.toggle('late', waitedMs > LATE_MS);
  get('feed').prepend(line);
  while (get('feed').children.length > FEED_MAX) get('feed').lastElementChild.remove();
  get('feed-empty').hidden = true;
}

function after(ms) {
  if (ms < 1000) return `${ms} ms`;
  return ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 60_000)} min`;
}

function title(name) {
  return name[0].toUpperCase() + name.slice(1);
}

function setLoad(perSecond) {
  get('load-says').textContent = perSecond === 0 ? 'off' : `${events(perSecond)} a second`;
  void ask('load', { perSecond });
}

async function ask(path, body = {}) {
  try {
    const answer = await fetch(`api/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (!answer.ok) toast((await answer.json()).message);
  } catch {
    toast('No answer. Is it still running?');
  }
}

function toast(text) {
  const element = get('toast');
  element.textContent = text;
  element.hidden = false;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => (element.hidden = true), 6_000);
}
