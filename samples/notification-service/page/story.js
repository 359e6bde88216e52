/** Says in one sentence what is going on, and what to try next. The first that fits is told. */
const number = new Intl.NumberFormat('en');
export const format = (value) => number.format(value);

export function events(count) {
  return `${format(count)} ${count === 1 ? 'event' : 'events'}`;
}

/** `mood` is the colour of the sentence: calm, waiting or bad. `action` is the button that goes with it. `isGrowing` says that the queue is. */
export function tell(snapshot, isGrowing) {
  const { counters, queue, load } = snapshot;
  const depth = queue?.ready ?? 0;
  const state = Object.fromEntries(snapshot.processes.map((process) => [process.name, process.state]));
  const working = ['notifications-1', 'notifications-2'].filter((name) => state[name] === 'running');
  const dead = snapshot.processes.find(({ name, state: is }) => !name.startsWith('notifications') && name !== 'broker' && is !== 'running');
  const told = [
    counters.lost > 0 &&
      bad(`${events(counters.lost)} the broker had confirmed ${counters.lost === 1 ? 'is' : 'are'} lost. That must never happen.`),
    state.broker === 'starting' && waiting('The broker is reading its journal.'),
    state.broker !== undefined && state.broker !== 'running' && brokerIsDead(counters),
    working.length === 0 && Object.values(state).includes('starting') && waiting('A notification service is starting.'),
    working.length === 0 && nobodyListens(depth),
    depth > 100 && isGrowing && tooSlow(depth, working.length, state),
    depth > 100 && waiting(`Catching up: ${events(depth)} to go, and none is lost.`),
    dead &&
      waiting(`The ${dead.name} service is down. The others do not notice; what it had not had confirmed died with it.`, {
        start: dead.name,
        label: 'Start it again',
      }),
    working.length === 2 && calm('Two notification services share the work: each event goes to one of them. Kill either one.'),
    load === 0 && calm('All quiet. Send an event from one of the services, or start a steady load.'),
  ].find(Boolean);
  return told ?? calm('Events flow. Now kill the notification service, and see who minds.', { kill: working[0], label: 'Kill it' });
}

const calm = (text, action) => ({ mood: 'calm', text, action });
const waiting = (text, action) => ({ mood: 'waiting', text, action });
const bad = (text) => ({ mood: 'bad', text });

function brokerIsDead(counters) {
  const kept = counters.sent - counters.confirmed;
  const keep = kept > 0 ? `The senders keep ${events(kept)} that nobody has confirmed` : 'The senders keep what nobody has confirmed';
  return waiting(`The broker is dead. ${keep}; what it did confirm is on its disk.`, { start: 'broker', label: 'Start the broker again' });
}

function nobodyListens(depth) {
  const wait = depth === 0 ? 'events will wait in the queue' : `${events(depth)} ${depth === 1 ? 'waits' : 'wait'} in the queue`;
  return waiting(`Nobody sends notifications. The five services do not notice; ${wait}.`, {
    start: 'notifications-1',
    label: 'Start it again',
  });
}

function tooSlow(depth, working, state) {
  if (working === 2)
    return waiting(
      `More comes in than two notification services can send: ${events(depth)} wait. Lower the load, or let a notification take less time.`,
    );
  const idle = state['notifications-1'] === 'running' ? 'notifications-2' : 'notifications-1';
  return waiting(`More comes in than one notification service can send: ${events(depth)} wait.`, {
    start: idle,
    label: 'Start a second one',
  });
}
