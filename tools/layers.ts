/**
 * The map of the house: which room may import which, where the machine may be touched, and why.
 *
 * layers.spec.ts holds every source file to it. A file belongs to the room with the longest matching `at`; a folder on no map fails, so whoever adds
 * a room says here what it may know. Imports inside a room are free; a room that is not listed under `mayImport` does not exist for it.
 */
export interface Room {
  readonly name: string;
  /** A folder (ends in a slash) or a single file, from the root of the repository. */
  readonly at: string;
  /** Names of rooms; a package of ours is named as it is imported. */
  readonly mayImport: readonly string[];
  readonly because: string;
}

export const rooms: readonly Room[] = [
  {
    name: '@dovecote/ground',
    at: 'libs/ground/src/',
    mayImport: [],
    because: 'the ground stands on Node alone: everything else stands on it',
  },
  {
    name: 'broker/floor',
    at: 'libs/broker/src/errors.ts',
    mayImport: [],
    because: 'what can be refused, by name: every room of the broker may say it',
  },
  {
    name: 'broker/floor',
    at: 'libs/broker/src/limits.ts',
    mayImport: [],
    because: 'the bounds of the whole broker, in one place: every room keeps to them',
  },
  {
    name: 'broker/floor',
    at: 'libs/broker/src/small-copy.ts',
    mayImport: [],
    because: 'a copy of a few bytes, faster than the one of Node: arithmetic, for every room',
  },
  {
    name: 'broker/floor',
    at: 'libs/broker/src/due-heap.ts',
    mayImport: [],
    because: 'what waits for a moment, in order: arithmetic, for every room',
  },
  {
    name: 'broker/floor',
    at: 'libs/broker/src/slow-reader.ts',
    mayImport: ['@dovecote/ground'],
    because: 'a client that does not read is the same to each protocol: time and a count of bytes, for every server',
  },
  {
    name: 'broker/storage',
    at: 'libs/broker/src/storage/',
    mayImport: ['@dovecote/ground', 'broker/floor'],
    because: 'the journal keeps bytes and knows no message, queue or topic: one crash model for everything above it',
  },
  {
    name: 'broker/queues',
    at: 'libs/broker/src/queues/',
    mayImport: ['@dovecote/ground', 'broker/floor', 'broker/storage'],
    because: 'queues and log are siblings, blind to each other, and know no protocol and no socket',
  },
  {
    name: 'broker/log',
    at: 'libs/broker/src/log/',
    mayImport: ['@dovecote/ground', 'broker/floor', 'broker/storage'],
    because: 'queues and log are siblings, blind to each other, and know no protocol and no socket',
  },
  {
    name: 'broker/engine',
    at: 'libs/broker/src/engine/',
    mayImport: ['@dovecote/ground', 'broker/floor', 'broker/storage', 'broker/queues', 'broker/log'],
    because: 'the engine opens what is below it; protocol servers stand on it, never under it',
  },
  {
    name: 'broker/opening',
    at: 'libs/broker/src/broker.ts',
    mayImport: [
      '@dovecote/ground',
      'broker/floor',
      'broker/storage',
      'broker/queues',
      'broker/log',
      'broker/engine',
      'broker/amqp',
      'broker/embedded',
      'broker/kafka-doors',
      'broker/kafka-opening',
      'broker/management',
    ],
    because: 'one file puts the broker together, sockets and all; nothing that it opens knows it',
  },
  {
    name: 'broker/kafka-doors',
    at: 'libs/broker/src/kafka-doors.ts',
    mayImport: ['@dovecote/ground', 'broker/floor', 'broker/engine', 'broker/kafka'],
    because: 'the sockets listen before anything of Kafka is loaded: of the server behind them it knows types alone',
  },
  {
    name: 'broker/kafka-opening',
    at: 'libs/broker/src/kafka-opening.ts',
    mayImport: ['@dovecote/ground', 'broker/floor', 'broker/log', 'broker/engine', 'broker/kafka', 'broker/embedded'],
    because: 'what only a broker with Kafka clients needs, in one file that is loaded for them alone',
  },
  {
    name: 'broker/amqp',
    at: 'libs/broker/src/amqp/',
    mayImport: ['@dovecote/ground', 'broker/floor', 'broker/queues', 'broker/engine'],
    because: 'protocol servers are strangers to each other, and reach the disk only through queues and engine',
  },
  {
    name: 'broker/management',
    at: 'libs/broker/src/management/',
    mayImport: ['@dovecote/ground', 'broker/floor', 'broker/queues', 'broker/engine'],
    because: 'protocol servers are strangers to each other: the API tells what the engine knows, and reaches no socket but its own',
  },
  {
    name: 'broker/kafka',
    at: 'libs/broker/src/kafka/',
    mayImport: ['@dovecote/ground', 'broker/floor', 'broker/log', 'broker/engine'],
    because: 'protocol servers are strangers to each other, and reach the disk only through log and engine',
  },
  {
    name: 'broker/embedded',
    at: 'libs/broker/src/embedded/',
    mayImport: ['@dovecote/ground', 'broker/floor', 'broker/log', 'broker/kafka'],
    because: 'the log for this process stands on the log and the groups, beside the sockets and not through them',
  },
  {
    name: 'broker/kafka-client',
    at: 'libs/broker/src/kafka-client/',
    mayImport: ['@dovecote/ground', 'broker/floor', 'broker/log', 'broker/kafka', 'broker/embedded'],
    because: 'a client speaks by the tables of the server and reads what it writes; no part of the broker knows it',
  },
  {
    name: 'broker/simulation',
    at: 'libs/broker/src/simulation/',
    mayImport: [
      '@dovecote/ground',
      'broker/floor',
      'broker/storage',
      'broker/queues',
      'broker/log',
      'broker/engine',
      'broker/opening',
      'broker/amqp',
      'broker/kafka',
      'broker/kafka-opening',
    ],
    because: 'the simulator drives the whole broker, so it sees all of it; nothing sees the simulator',
  },
  {
    name: '@dovecote/broker',
    at: 'libs/broker/src/',
    mayImport: [
      '@dovecote/ground',
      'broker/floor',
      'broker/storage',
      'broker/queues',
      'broker/log',
      'broker/engine',
      'broker/opening',
      'broker/amqp',
      'broker/kafka',
      'broker/kafka-doors',
      'broker/embedded',
      'broker/kafka-client',
    ],
    because: 'the index beside the rooms says what of them is public',
  },
  {
    name: '@dovecote/messaging',
    at: 'libs/messaging/src/',
    mayImport: ['@dovecote/ground', '@dovecote/broker'],
    because: 'the framework knows brokers by their public face only',
  },
  {
    name: 'messaging/microservices',
    at: 'libs/messaging/src/microservices/',
    mayImport: ['@dovecote/ground', '@dovecote/broker', '@dovecote/messaging'],
    because:
      "controllers and clients of Nest's microservices stand on the framework; nothing of it knows them, so that it loads without their package",
  },
  {
    name: '@dovecote/testing',
    at: 'libs/testing/src/',
    mayImport: ['@dovecote/ground', '@dovecote/broker', '@dovecote/messaging'],
    because: 'a test kit uses what its user uses',
  },
  {
    name: 'apps/broker',
    at: 'apps/broker/src/',
    mayImport: ['@dovecote/ground', '@dovecote/broker'],
    because: 'apps start things and decide nothing',
  },
  {
    name: 'apps/cli',
    at: 'apps/cli/src/',
    mayImport: ['@dovecote/ground', '@dovecote/broker', '@dovecote/messaging'],
    because: 'the command line speaks to a broker over its API, as any other tool does, and to dead letters as the framework does',
  },
  {
    name: 'apps/bench',
    at: 'apps/bench/src/',
    mayImport: ['@dovecote/ground', '@dovecote/broker', '@dovecote/messaging'],
    because: 'the benchmark sees a broker as a client does, and the framework as an application does',
  },
  {
    name: 'samples/notification-service',
    at: 'samples/notification-service/src/',
    mayImport: ['@dovecote/ground', '@dovecote/broker', '@dovecote/messaging'],
    because: 'a sample uses what its reader will use: the public packages',
  },
  { name: 'tools', at: 'tools/', mayImport: [], because: 'tools read the house; they are no part of it' },
];

/** Parts of rooms that turn bytes into values and back: they may import nothing that could do I/O. */
export const wire = {
  files:
    /^libs\/broker\/src\/(?:amqp\/(?:methods|frames|field-table)|queues\/(?:field-table|properties|content|short-text)|kafka\/(?:schema|codec|cursor|writer|request-frames|record-batch|groups\/(?:offsets-topic|subscription)))\.ts$/,
  mayNotImport: ['@dovecote/ground', 'broker/storage', 'broker/engine'],
  because: 'wire code does no I/O: it is tested with bytes alone, at every split',
};

/** What reaches the machine. Only the ground may: everything else is handed clock, disk, network and chance, which is what lets a seed replay a bug. */
export const machine = {
  /** Libraries only: apps, samples and tools are programs and use Node as they like. */
  kept: /^libs\//,
  allowed: /^libs\/ground\//,
  modules: [
    'fs',
    'fs/promises',
    'net',
    'tls',
    'dgram',
    'dns',
    'dns/promises',
    'http',
    'http2',
    'https',
    'timers',
    'timers/promises',
    'child_process',
    'cluster',
    'worker_threads',
    'perf_hooks',
    'os',
  ],
  /** Tests may open a real socket or a temporary folder, but not ask the hour, wait, or roll dice. */
  modulesInTests: ['timers', 'timers/promises', 'perf_hooks'],
  globals: ['setTimeout', 'setInterval', 'setImmediate', 'fetch', 'WebSocket', 'XMLHttpRequest'],
  members: {
    Date: ['now'],
    Math: ['random'],
    performance: ['now', 'timeOrigin'],
    process: ['hrtime', 'uptime'],
    AbortSignal: ['timeout'],
  } as Readonly<Record<string, readonly string[]>>,
  /** Of node:crypto and of the global `crypto`; hashes and ciphers are arithmetic and free. */
  chance: ['randomBytes', 'randomFill', 'randomFillSync', 'randomInt', 'randomUUID', 'getRandomValues', 'webcrypto'],
  because: 'time, chance, disk and network are handed in (@dovecote/ground), so that a simulation with a seed repeats exactly',
};

export const environment = {
  /** Programs read it once, where they start; a test may read what its runner was told. */
  allowed: /(?:^|[/.])main\.ts$|\.spec\.ts$/,
  because: 'process.env is read only in main.ts files: everything else gets its settings as arguments',
};

export const nest = {
  packages: /^(?:@nestjs\/|rxjs(?:\/|$)|reflect-metadata$)/,
  never: /^libs\/(?:ground|broker)\//,
  /** What is for Nest's microservices is made of their classes, file by file. */
  edge: /\.(?:module|decorator|controller|explorer|spec)\.ts$|^libs\/messaging\/src\/(?:microservices\/|nest-log\.ts$)/,
  kept: /^libs\//,
  /** A package that few applications have: whatever else imported it would load for nobody but them. */
  optional: { package: '@nestjs/microservices', allowed: /^libs\/messaging\/src\/microservices\// },
  because:
    'the broker runs without NestJS, and the framework touches it only in modules, decorators, controllers, explorers and its microservices',
};

/** Clients of brokers, and the rooms that may hold one. */
export const brokerClients = {
  packages: ['@dovecote/broker', 'rabbitmq-client', 'amqplib', 'kafkajs', '@platformatic/kafka'],
  kept: /^libs\/messaging\//,
  /** What specs share opens a broker for them. */
  allowed: /^libs\/messaging\/src\/(?:transports\/|.*-transport\.|.*transport.*\.spec\.ts$|.*\.spec\.ts$|notifications\.module\.ts$)/,
  because: 'the framework reaches a broker only through the Transport port',
};

export const size = {
  fileLinesMax: 600,
  /** A test file is a list that is read one test at a time, and each one more costs the whole run a start-up (0.05 to 0.5 s). */
  testFileLinesMax: 1000,
  functionLinesMax: 70,
  because: 'a file and a function are held in the head at once, or they are split',
};

/** Folders and files named after their kind say nothing about what they hold. */
export const kindNames = {
  path: /(?:^|\/)(?:interfaces|constants|utils?|helpers?|common|shared|types)(?:\/|\.ts$)|(?:^|\/)base-[^/]*\.ts$|\.impl\.ts$/,
  because: 'a file is named after the noun it holds',
};

/**
 * What is past a limit today and may only shrink. `subject` is the name of the function, absent for a file. An entry that is no longer needed, or
 * looser than what it excuses, fails.
 */
export interface Exception {
  readonly path: string;
  readonly subject?: string;
  readonly lines: number;
  readonly because: string;
}

export const exceptions: readonly Exception[] = [];
