/**
 * Transports that break one promise each, over one that keeps them all: the contract suite must name what is broken. For tests only.
 */
import type { Envelope } from './envelope.js';
import type { Box, Incoming, Lane, SubscriptionRequest, Transport, TransportConsumer, TransportSubscription } from './transport.js';
import type { TransportSubject } from './transport-contract.js';
import { turn } from './turn.js';

/** What is wrong with a transport: replaces some of its verbs. */
export type Defect = (sound: Transport) => Partial<Transport>;

/** The same broker through transports with this defect. */
export function broken(subject: TransportSubject, defect: Defect): TransportSubject {
  const sounds = new Map<Transport, Transport>();
  return {
    transport() {
      const sound = subject.transport();
      const transport = withDefect(sound, defect(sound));
      sounds.set(transport, sound);
      return transport;
    },
    crash: (transport) => subject.crash(sounds.get(transport) ?? transport),
    unique: (name) => subject.unique(name),
    holdConfirms: () => subject.holdConfirms(),
    pass: (ms) => subject.pass(ms),
    refusePublishes: () => subject.refusePublishes(),
    close: () => subject.close(),
  };
}

function withDefect(sound: Transport, defect: Partial<Transport>): Transport {
  return {
    capabilities: sound.capabilities,
    open: () => sound.open(),
    publish: (envelope, deadlineMs, route) => sound.publish(envelope, deadlineMs, route),
    plan: (request) => sound.plan(request),
    subscribe: (request, consumer) => sound.subscribe(request, consumer),
    openReplies: (onReply) => sound.openReplies(onReply),
    openBox: (box) => sound.openBox(box),
    parkingStore: (group) => sound.parkingStore(group),
    close: () => sound.close(),
    ...defect,
  };
}

/** Changes what the subscriber sees of each delivery. */
function seeing(change: (incoming: Incoming) => Incoming): Defect {
  return (sound) => ({ subscribe: (request, consumer) => sound.subscribe(request, hearing(consumer, change)) });
}

function hearing(consumer: TransportConsumer, change: (incoming: Incoming) => Incoming): TransportConsumer {
  return {
    onMessage: (incoming) => consumer.onMessage(change(incoming)),
    assigned: (lane) => consumer.assigned(lane),
    revoked: (lane, isLost) => consumer.revoked(lane, isLost),
  };
}

function changed(incoming: Incoming, change: Partial<Incoming>): Incoming {
  return {
    envelope: incoming.envelope,
    isRedelivered: incoming.isRedelivered,
    deliveries: incoming.deliveries,
    isQuarantined: incoming.isQuarantined,
    lane: incoming.lane,
    isTakenBack: incoming.isTakenBack,
    acknowledge: () => incoming.acknowledge(),
    release: () => incoming.release(),
    ...change,
  };
}

function asking(change: (request: SubscriptionRequest) => SubscriptionRequest): Defect {
  return (sound) => ({ subscribe: (request, consumer) => sound.subscribe(change(request), consumer) });
}

/** Puts everything for a group into this box. */
function boxing(box: Box['box']): Defect {
  return (sound) => ({
    publish: (envelope, deadlineMs, route) =>
      sound.publish(envelope, deadlineMs, route?.to === undefined ? route : { ...route, to: { ...route.to, box } }),
  });
}

/** Whoever opens a box sees what was seen in it before. */
function sharingBoxes(): Defect {
  const shown: Incoming[] = [];
  return (sound) => ({
    async openBox(box) {
      const open = await sound.openBox(box);
      let count = 0;
      const next = async (): Promise<Incoming | undefined> => {
        const one = shown[count] ?? (await open.next());
        if (one !== undefined) shown[count++] = one;
        return one;
      };
      return { next, close: () => open.close() };
    },
  });
}

/** Changes which messages the subscriber sees, and in what order. */
function passing(pass: (incoming: Incoming, on: (incoming: Incoming) => void) => void): Defect {
  return (sound) => ({
    subscribe: (request, consumer) => {
      return sound.subscribe(request, {
        ...hearing(consumer, same),
        onMessage: (incoming) => pass(incoming, (one) => consumer.onMessage(one)),
      });
    },
  });
}

function same(incoming: Incoming): Incoming {
  return incoming;
}

/** Every other message is overtaken by the one behind it. */
function swappingNeighbours(): Defect {
  let held: Incoming | undefined;
  return passing((incoming, on) => {
    if (held === undefined) held = incoming;
    else {
      on(incoming);
      on(held);
      held = undefined;
    }
  });
}

/** Changes the key under which the broker sees a message. */
function keying(change: (key: string) => string | undefined): Defect {
  return (sound) => ({
    publish: (envelope: Envelope, deadlineMs, route) => {
      const key = envelope.key === undefined ? undefined : change(envelope.key);
      return sound.publish({ ...envelope, key }, deadlineMs, route);
    },
  });
}

let instances = 0;

/** Each defect, and the case that must fail because of it. */
export const defects: Readonly<Record<string, { readonly defect: Defect; readonly failing: string }>> = {
  'acknowledges before the handler is done': {
    failing: 'hands out again what was delivered and not acknowledged when a member dies, marked as redelivered',
    defect: seeing((incoming) => {
      incoming.acknowledge();
      return incoming;
    }),
  },
  'forgets to say that it is a redelivery': {
    failing: 'gives a released message back, marked as redelivered',
    defect: seeing((incoming) => changed(incoming, { isRedelivered: false })),
  },
  'drops what is released': {
    failing: 'gives a released message back, marked as redelivered',
    defect: seeing((incoming) => changed(incoming, { release: () => incoming.acknowledge() })),
  },
  'never acknowledges': {
    failing: 'does not hand out again what was acknowledged',
    defect: seeing((incoming) => changed(incoming, { acknowledge: () => undefined })),
  },
  'ignores the prefetch': {
    failing: 'never has more unacknowledged than the prefetch',
    defect: asking((request) => ({ ...request, prefetch: 1_000 })),
  },
  'ignores the prefetch of a source': {
    failing: 'never has more unacknowledged of a source than its own prefetch, and hands out the others',
    defect: asking((request) => ({ ...request, sources: request.sources.map((source) => ({ ...source, prefetch: undefined })) })),
  },
  'holds all sources to the prefetch of one': {
    failing: 'never has more unacknowledged of a source than its own prefetch, and hands out the others',
    defect: asking((request) => ({
      ...request,
      prefetch: Math.min(request.prefetch, ...request.sources.map((one) => one.prefetch ?? 10)),
    })),
  },
  'delivers to every member of a group': {
    failing: 'gives each message to one member of a group',
    defect: asking((request) => ({ ...request, group: `${request.group}-${(instances += 1)}` })),
  },
  'mixes up the groups': {
    failing: 'gives each group a copy of its own',
    defect: asking((request) => ({ ...request, group: 'everybody' })),
  },
  'delivers every type': {
    failing: 'delivers to whoever subscribed to the type, and nothing else',
    defect: asking((request) => ({ ...request, sources: [{ kind: 'event', pattern: '#', topic: undefined, order: 'none' }] })),
  },
  'resolves publish before the confirm': {
    failing: 'resolves publish only when the broker has confirmed',
    defect: (sound) => ({
      publish: (envelope, deadlineMs) => {
        void sound.publish(envelope, deadlineMs);
        return Promise.resolve();
      },
    }),
  },
  'swallows the failure of publish': {
    failing: 'rejects publish when the broker refuses the message',
    defect: (sound) => ({ publish: (envelope, deadlineMs) => sound.publish(envelope, deadlineMs).catch(() => undefined) }),
  },
  'loses the headers': {
    failing: 'carries every attribute, the headers and the bytes of the body',
    defect: (sound) => ({ publish: (envelope: Envelope, deadlineMs) => sound.publish({ ...envelope, headers: {} }, deadlineMs) }),
  },
  'loses the trail': {
    failing: 'carries what a message came of, when it expires, and what became of it so far',
    defect: (sound) => ({ publish: (envelope: Envelope, deadlineMs) => sound.publish({ ...envelope, trail: undefined }, deadlineMs) }),
  },
  'knows no wildcards': {
    failing: 'matches patterns of types: a star is one word, a hash any number',
    defect: asking((request) => ({ ...request, sources: request.sources.filter(({ pattern }) => !/[*#]/.test(pattern)) })),
  },
  'takes every message for an event': {
    failing: 'keeps commands and queries apart from events of the same type',
    defect: (sound) => ({
      publish: (envelope: Envelope, deadlineMs, route) => sound.publish({ ...envelope, kind: 'event' }, deadlineMs, route),
    }),
  },
  'counts no deliveries': {
    failing: 'counts how often it handed a message out, where it says that it counts',
    defect: seeing((incoming) => changed(incoming, { deliveries: 1 })),
  },
  'publishes to everybody what is for one group': {
    failing: 'puts what is for the inbox of a group there, and nowhere else',
    defect: (sound) => ({ publish: (envelope, deadlineMs) => sound.publish(envelope, deadlineMs) }),
  },
  'knows no quarantine': {
    failing: 'hands out what is in quarantine one message at a time',
    defect: boxing('inbox'),
  },
  'hands out dead letters': {
    failing: 'hands out no dead letter',
    defect: boxing('inbox'),
  },
  'hands out messages of lanes that it never assigned': {
    failing: 'assigns a lane before its first message, and names it with each',
    defect: (sound) => ({
      subscribe: (request, consumer) =>
        sound.subscribe(request, { ...hearing(consumer, same), assigned: () => Promise.resolve(), revoked: () => Promise.resolve() }),
    }),
  },
  'puts all keys into one lane': {
    failing: 'keeps a key in one lane, and shares the keys out over several',
    defect: keying(() => 'the same'),
  },
  'loses what has no key': {
    failing: 'hands out what has no key, too',
    defect: (sound) => ({
      publish: (envelope, deadlineMs, route) =>
        envelope.key === undefined ? Promise.resolve() : sound.publish(envelope, deadlineMs, route),
    }),
  },
  'passes over what a member had not acknowledged when it died': {
    failing: 'goes on in the order of each key where a member dies, with all that it had not acknowledged',
    defect: seeing((incoming) => {
      incoming.acknowledge();
      return incoming;
    }),
  },
  'swaps neighbours in a lane': {
    failing: 'keeps the order where more is given back than a member takes',
    defect: swappingNeighbours(),
  },
  'hands a lane over before its member lets go': {
    failing: 'gives a member that comes its share of the lanes, each once the one that had it lets go',
    defect: (sound) => ({
      subscribe(request, consumer) {
        const revoked = (lane: Lane, isLost: boolean): Promise<void> => {
          void consumer.revoked(lane, isLost);
          return Promise.resolve();
        };
        return sound.subscribe(request, { ...hearing(consumer, same), revoked });
      },
    }),
  },
  'forgets what a member had that died': {
    failing: 'gives the lanes of a member that dies to those who are left',
    defect: passing((incoming, on) => {
      if (!incoming.isRedelivered) on(incoming);
    }),
  },
  'does not pause': {
    failing: 'hands out nothing of a lane that is paused, and goes on in order',
    defect: seeing((incoming) => changed(incoming, { lane: incoming.lane && { id: incoming.lane.id, pause: nothing, resume: nothing } })),
  },
  'drops what is released in a lane': {
    failing: 'hands out again what was released in a lane',
    defect: seeing((incoming) => changed(incoming, { release: () => incoming.acknowledge() })),
  },
  'delivers at once what is to be kept': {
    failing: 'keeps an event for its delay, and then gives it to whoever subscribes by then',
    defect: (sound) => ({
      publish: (envelope, deadlineMs, route) => sound.publish(envelope, deadlineMs, route?.to === undefined ? undefined : { to: route.to }),
    }),
  },
  'forgets what is kept for an inbox': {
    failing: 'keeps what is for the inbox of a group, although whoever published it dies',
    defect: (sound) => ({
      publish: (envelope, deadlineMs, route) =>
        route?.delayMs === undefined ? sound.publish(envelope, deadlineMs, route) : Promise.resolve(),
    }),
  },
  'shows in a box what came after the look began': {
    failing: 'shows what was in a box when the look began, and nothing that came behind it',
    defect: (sound) => ({
      async openBox(box) {
        const opened = [await sound.openBox(box)];
        const next = async (): Promise<Incoming | undefined> => {
          const one = await opened.at(-1)!.next();
          if (one !== undefined || opened.length > 1) return one;
          opened.push(await sound.openBox(box));
          return opened.at(-1)!.next();
        };
        return { next, close: async () => void (await Promise.all(opened.map((open) => open.close()))) };
      },
    }),
  },
  'empties a box by looking into it': {
    failing: 'lets one look into a box and take out of it, and what is not taken is there afterwards',
    defect: (sound) => ({
      async openBox(box) {
        const open = await sound.openBox(box);
        const taking = async (): Promise<Incoming | undefined> => {
          const next = await open.next();
          next?.acknowledge();
          return next;
        };
        return { next: taking, close: () => open.close() };
      },
    }),
  },
  'loses answers': {
    failing: 'brings an answer to whoever asked',
    defect: (sound) => ({ openReplies: () => sound.openReplies(() => undefined) }),
  },
  'gives out of a box what another has out': {
    failing: 'gives each message of a box to one of two who look at once',
    defect: sharingBoxes(),
  },
  'loses what goes nowhere': {
    failing: 'refuses a command that nobody ever handled, and a box that is not there',
    defect: (sound) => ({ publish: (envelope, deadlineMs, route) => sound.publish(envelope, deadlineMs, route).catch(() => undefined) }),
  },
  'confirms first and sends later': {
    failing: 'keeps what it confirmed although it dies right after',
    defect: sendingLater,
  },
  'loses on close what nobody acknowledged': {
    failing: 'gives back what is unacknowledged when it closes, and loses nothing',
    defect: losingOnClose,
  },
  'goes on delivering after stop': {
    failing: 'delivers nothing after stop, and still takes acknowledgements',
    defect: (sound) => ({
      async subscribe(request, consumer): Promise<TransportSubscription> {
        await sound.subscribe(request, consumer);
        return { stop: () => Promise.resolve() };
      },
    }),
  },
  'subscribes after it said so': {
    failing: 'has the queue and its bindings in place when subscribe resolves',
    defect: (sound) => ({
      subscribe(request, consumer): Promise<TransportSubscription> {
        const subscribed = turn().then(() => sound.subscribe(request, consumer));
        return Promise.resolve({ stop: async () => (await subscribed).stop() });
      },
    }),
  },
  'publishes after close': {
    failing: 'rejects publish after close, and closes twice',
    defect: () => ({ publish: () => Promise.resolve() }),
  },
};

function sendingLater(sound: Transport): Partial<Transport> {
  let isDead = false;
  const close = sound.close.bind(sound);
  // A crash closes the sound transport underneath.
  sound.close = () => {
    isDead = true;
    return close();
  };
  return {
    publish(envelope, deadlineMs) {
      void turn().then(() => (isDead ? undefined : sound.publish(envelope, deadlineMs).catch(() => undefined)));
      return Promise.resolve();
    },
  };
}

function losingOnClose(sound: Transport): Partial<Transport> {
  const open = new Set<Incoming>();
  return {
    subscribe: (request, consumer) =>
      sound.subscribe(
        request,
        hearing(consumer, (incoming) => {
          open.add(incoming);
          return incoming;
        }),
      ),
    async close() {
      for (const incoming of open) incoming.acknowledge();
      await sound.close();
    },
  };
}

function nothing(): void {}
