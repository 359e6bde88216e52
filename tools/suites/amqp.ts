/**
 * The suites of AMQP clients, and the daemon that they meet. What does not pass, and why, stands in the SUPPORT.md of the AMQP server.
 */
import { files, nodeTest, pytest, type Room, type Suite } from './suite.js';

const suites: readonly Suite[] = [
  {
    name: 'amqplib',
    origin: 'https://github.com/amqp-node/amqplib',
    needs: { file: 'node_modules/claire', says: 'npm ci --ignore-scripts' },
    ports: [5672],
    command: (place) => ({
      file: process.execPath,
      arguments: [...nodeTest(place), ...files(place, 'test', /\.test\.js$/)],
      environment: { URL: place.url },
      results: 'junit',
    }),
  },
  {
    name: 'rabbitmq-client',
    origin: 'https://github.com/cody-greene/node-rabbitmq-client',
    needs: { file: 'node_modules/ts-node', says: 'npm ci' },
    ports: [],
    command: (place) => ({
      file: process.execPath,
      arguments: ['-r', 'ts-node/register', ...nodeTest(place), ...files(place, 'test', /\.ts$/)],
      environment: { RABBITMQ_URL: place.url },
      results: 'junit',
    }),
  },
  {
    name: 'pika',
    origin: 'https://github.com/pika/pika',
    needs: undefined,
    ports: [5672],
    command: (place) =>
      pytest(place, { AMQP_URL: place.url }, '-o', 'python_files=*.py', ...files(place, 'tests/acceptance', /^(?!__).*\.py$/)),
  },
  {
    name: 'nest',
    origin: 'https://github.com/nestjs/nest',
    needs: { file: 'node_modules/vitest/vitest.mjs', says: 'npm ci, and npm run build where the packages are built' },
    ports: [5672],
    command: (place) => ({
      file: process.execPath,
      arguments: [
        'node_modules/vitest/vitest.mjs',
        'run',
        '--config=vitest.config.integration.mts',
        '--reporter=default',
        '--reporter=junit',
        `--outputFile.junit=${place.resultsFile}`,
        'rmq',
      ],
      environment: {},
      results: 'junit',
    }),
  },
  {
    name: 'amqp091-go',
    origin: 'https://github.com/rabbitmq/amqp091-go',
    needs: undefined,
    ports: [],
    command: (place) => ({
      file: 'go',
      arguments: ['test', '-json', '-count=1', '-tags', 'integration', '-timeout', '600s', '.'],
      environment: { AMQP_URL: place.url },
      results: 'go',
    }),
  },
  {
    name: 'aiormq',
    origin: 'https://github.com/mosquito/aiormq',
    needs: undefined,
    ports: [],
    command: (place) => pytest(place, { AMQP_URL: place.url }, '-k', 'not amqps and not ssl', 'tests'),
  },
  {
    name: 'py-amqp',
    origin: 'https://github.com/celery/py-amqp',
    needs: undefined,
    ports: [5672],
    // Half of it wants a listener on 5671 with certificates of its own.
    command: (place) => pytest(place, {}, '-E', 'rabbitmq', '-k', 'not tls', 't/integration'),
  },
  {
    name: 'kombu',
    origin: 'https://github.com/celery/kombu',
    needs: undefined,
    ports: [5672],
    command: (place) => pytest(place, {}, '-E', 'py-amqp', 't/integration/test_py_amqp.py'),
  },
];

export const amqp: Room = {
  suites,
  support: 'libs/broker/src/amqp/SUPPORT.md',
  // It listens on every address of this machine, because suites mean both 127.0.0.1 and ::1 by localhost; guest may come from here only.
  daemon: ([port]) => ['--amqp-host', '::', '--amqp-port', String(port), '--kafka-port', 'off'],
  says: 'AMQP',
  url: (port) => `amqp://guest:guest@localhost:${port}`,
};
