/**
 * The suites of other clients that we run against our daemon, from checkouts beside the repository: where each is found, how it is told where the broker
 * is, and how its results are read. Nothing of theirs is kept here.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

/** A program that runs in the folder of the checkout and leaves its results in `resultsFile`, or says them on stdout. */
export interface Command {
  readonly file: string;
  readonly arguments: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** `junit`: XML in `resultsFile`. `go`: the lines of `go test -json` on stdout. */
  readonly results: 'junit' | 'go';
}

export interface Place {
  /** The checkout. */
  readonly folder: string;
  /** The broker. */
  readonly url: string;
  readonly resultsFile: string;
  readonly python: string;
}

export interface Suite {
  readonly name: string;
  readonly origin: string;
  /** What must be in the checkout before it can run, beside what comes with it: a file, and how it gets there. */
  readonly needs: { readonly file: string; readonly says: string } | undefined;
  /** The port that its tests connect to, where they take no URL. */
  readonly port: number | undefined;
  readonly command: (place: Place) => Command;
}

/** Both for people, as it goes, and for us at the end. Node 20 counts a whole file as one test, so the time is for a file. */
const nodeTest = (place: Place): readonly string[] => [
  '--test',
  '--test-timeout=60000',
  '--test-reporter=spec',
  '--test-reporter-destination=stdout',
  '--test-reporter=junit',
  `--test-reporter-destination=${place.resultsFile}`,
];

const pytest = (place: Place, ...more: readonly string[]): Command => ({
  file: place.python,
  arguments: ['-m', 'pytest', '-p', 'no:cacheprovider', `--junitxml=${place.resultsFile}`, ...more],
  environment: { PYTHONPATH: place.folder, PYTHONDONTWRITEBYTECODE: '1', AMQP_URL: place.url },
  results: 'junit',
});

const files = (place: Place, folder: string, what: RegExp): readonly string[] =>
  readdirSync(join(place.folder, folder))
    .filter((file) => what.test(file))
    .map((file) => join(folder, file));

export const suites: readonly Suite[] = [
  {
    name: 'amqplib',
    origin: 'https://github.com/amqp-node/amqplib',
    needs: { file: 'node_modules/claire', says: 'npm ci --ignore-scripts' },
    port: 5672,
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
    port: undefined,
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
    port: 5672,
    command: (place) => pytest(place, '-o', 'python_files=*.py', ...files(place, 'tests/acceptance', /^(?!__).*\.py$/)),
  },
  {
    name: 'nest',
    origin: 'https://github.com/nestjs/nest',
    needs: { file: 'node_modules/vitest/vitest.mjs', says: 'npm ci, and npm run build where the packages are built' },
    port: 5672,
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
    port: undefined,
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
    port: undefined,
    command: (place) => pytest(place, '-k', 'not amqps and not ssl', 'tests'),
  },
];
