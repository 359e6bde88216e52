/**
 * The suites of Kafka clients, and the daemon that they meet: one broker where they mean a cluster. What does not pass, and why, stands in the
 * SUPPORT.md of the Kafka server.
 */
import { basename, dirname } from 'node:path';
import { files, nodeTest, pytest, type Place, type Room, type Suite } from './suite.js';

/** On every address of this machine, because suites mean both 127.0.0.1 and ::1 by localhost. */
const listener = (scheme: 'kafka' | 'kafkas', port: number, login: 'yes' | 'no'): readonly string[] => [
  '--kafka-listener',
  `${scheme}://[::]:${port}?advertised=localhost:${port}&login=${login}`,
];

const kafkaVersion = '4.2.0';

const goTest = (place: Place, folder: string, environment: Readonly<Record<string, string>>): ReturnType<Suite['command']> => ({
  file: 'go',
  // Tests of transactions would wait for ever for what is not announced.
  arguments: ['test', '-C', folder, '-json', '-count=1', '-timeout', '1100s', '-skip', 'Txn|Transaction', '.'],
  environment: { KGO_SEEDS: place.url, ...environment },
  results: 'go',
});

const suites: readonly Suite[] = [
  {
    name: 'kafkajs',
    origin: 'https://github.com/tulios/kafkajs',
    needs: { file: 'node_modules/jest/bin/jest.js', says: 'npm install --ignore-scripts' },
    ports: [9092, 9095, 9098],
    isOverTls: true,
    daemon: () => [
      ...['--kafka-config', 'node.id=0', '--kafka-config', 'num.partitions=2', '--user', 'test:testtest'],
      ...listener('kafkas', 9093, 'no'),
      ...listener('kafkas', 9094, 'yes'),
    ],
    command: (place) => ({
      file: process.execPath,
      arguments: [
        ...['node_modules/jest/bin/jest.js', '--ci', '--maxWorkers=2', '--no-watchman', '--forceExit'],
        ...['--testPathPattern', 'src/(broker|admin|producer|consumer)/.*spec.js'],
      ],
      environment: {
        NODE_ENV: 'test',
        KAFKA_VERSION: '2.4',
        KAFKAJS_DEBUG_PROTOCOL_BUFFERS: '1',
        JEST_JUNIT_OUTPUT_DIR: dirname(place.resultsFile),
        JEST_JUNIT_OUTPUT_NAME: basename(place.resultsFile),
        JEST_JUNIT_SUITE_NAME: '{filepath}',
        JEST_JUNIT_CLASSNAME: '{classname}',
        JEST_JUNIT_TITLE: '{title}',
      },
      results: 'junit',
    }),
  },
  {
    name: 'platformatic-kafka',
    origin: 'https://github.com/platformatic/kafka',
    needs: {
      file: 'node_modules/@watchable/unpromise',
      says: 'npm install --ignore-scripts (its tests take Node 22.22 or 24.6 and newer)',
    },
    ports: [9011, 9001],
    daemon: () => [...listener('kafka', 9002, 'yes'), '--user', 'admin:admin'],
    command: (place) => ({
      file: process.execPath,
      arguments: [
        ...nodeTest(place),
        ...['', '/admin', '/base', '/consumer', '/producer'].flatMap((folder) => files(place, `test/clients${folder}`, /\.test\.ts$/)),
      ],
      environment: {},
      results: 'junit',
    }),
  },
  {
    name: 'franz-go',
    origin: 'https://github.com/twmb/franz-go',
    needs: undefined,
    ports: [],
    command: (place) => goTest(place, 'pkg/kgo', { KGO_TEST_RF: '1', KGO_TEST_RECORDS: '50000' }),
  },
  {
    name: 'kafka-go',
    origin: 'https://github.com/segmentio/kafka-go',
    needs: undefined,
    ports: [9092],
    command: (place) => goTest(place, '.', { KAFKA_VERSION: kafkaVersion, KAFKA_SKIP_NETTEST: '1' }),
  },
  {
    name: 'kafka-python',
    origin: 'https://github.com/dpkp/kafka-python',
    needs: undefined,
    ports: [],
    daemon: () => ['--kafka-config', 'node.id=0', '--kafka-config', 'num.partitions=4'],
    command: (place) =>
      pytest(
        place,
        { KAFKA_URI: `kafka://${place.url}`, KAFKA_VERSION: '4.1.0', KAFKA_ROOT: place.folder },
        '-p',
        'no:randomly',
        'test/integration',
      ),
  },
];

export const kafka: Room = {
  suites,
  support: 'libs/broker/src/kafka/SUPPORT.md',
  daemon: (ports) => [
    ...['--amqp-port', '0', '--kafka-replication', 'one-for-all'],
    ...ports.flatMap((port) => listener('kafka', port, 'no')),
  ],
  says: 'Kafka',
  url: (port) => `localhost:${port}`,
};
