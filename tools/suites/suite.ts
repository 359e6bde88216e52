/**
 * A suite of another client that we run against our daemon, from a checkout beside the repository: where it is found, how it is told where the broker
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
  /** The ports that its tests connect to, where they take no address: the daemon listens on them all. */
  readonly ports: readonly number[];
  /** What the daemon is told for this suite beside what it is told for all. */
  readonly daemon?: () => readonly string[];
  /** Some of its listeners speak TLS, with a certificate that is made for the run. */
  readonly isOverTls?: true;
  readonly command: (place: Place) => Command;
}

/** One protocol of the daemon: its suites, and how it is started for them. */
export interface Room {
  readonly suites: readonly Suite[];
  /** The page that lists what does not pass. */
  readonly support: string;
  /** Listening on these ports, one at least. */
  readonly daemon: (ports: readonly number[]) => readonly string[];
  /** What it calls this protocol when it says that it listens. */
  readonly says: string;
  /** What suites are told that take an address. */
  readonly url: (port: number) => string;
}

/** Both for people, as it goes, and for us at the end. Node 20 counts a whole file as one test, so the time is for a file. */
export const nodeTest = (place: Place): readonly string[] => [
  '--test',
  '--test-timeout=60000',
  '--test-reporter=spec',
  '--test-reporter-destination=stdout',
  '--test-reporter=junit',
  `--test-reporter-destination=${place.resultsFile}`,
];

export const pytest = (place: Place, environment: Command['environment'], ...more: readonly string[]): Command => ({
  file: place.python,
  arguments: ['-m', 'pytest', '-p', 'no:cacheprovider', `--junitxml=${place.resultsFile}`, ...more],
  environment: { PYTHONPATH: place.folder, PYTHONDONTWRITEBYTECODE: '1', ...environment },
  results: 'junit',
});

export const files = (place: Place, folder: string, what: RegExp): readonly string[] =>
  readdirSync(join(place.folder, folder))
    .filter((file) => what.test(file))
    .map((file) => join(folder, file));
