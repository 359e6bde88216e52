/** What can be said to `npm start`. Read once, checked once; what is wrong is answered with a sentence. */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Refusal } from './refusal.js';
import { LOAD_MAX } from './stage/stage.js';

export const USAGE = `npm start -- [options]

  --data DIR          keep the files of this run in DIR (default: the first free folder below samples/notification-service/.data)
  --keep              go on with what an earlier run left there; without it a run starts empty
  --load N            events per second to begin with, over all five senders (default 5; 0 for silence)
  --broker-url URL    use a broker that runs already, as amqp://user:password@host:5672 or kafka://host:9092, in place of the built-in one
  --commands-url URL  with it: commands go over this broker, and --broker-url has the events alone

  PORT in the environment is the port of the page (default: a free one), HOST the address it listens on (default: 127.0.0.1; in a container 0.0.0.0).
`;

export interface Settings {
  /** 0 takes a free one. */
  readonly port: number;
  readonly host: string;
  /** Without it: the first free folder below `home`. */
  readonly data: string | undefined;
  readonly home: string;
  readonly isKept: boolean;
  readonly load: number;
  readonly brokerUrl: string | undefined;
  /** Where commands go, if not where events do. */
  readonly commandsUrl: string | undefined;
  /** For tests: a program to start in place of the broker daemon. */
  readonly brokerProgram: string | undefined;
}

/** Undefined when only help was asked for. Throws a Refusal. */
export function readSettings(args: readonly string[], env: NodeJS.ProcessEnv): Settings | undefined {
  const { values } = parse(args);
  if (values.help) return undefined;
  const [url, commandsUrl] = [values['broker-url'], values['commands-url']];
  for (const [option, given] of Object.entries({ '--broker-url': url, '--commands-url': commandsUrl })) {
    if (given !== undefined && !/^(?:amqps?|kafka):\/\/./.test(given))
      throw new Refusal(`${option} is an address as amqp://user:password@host:5672 or kafka://host:9092; this is ${given}.`);
  }
  if (commandsUrl !== undefined && url === undefined)
    throw new Refusal('--commands-url goes with --broker-url, which has the events then.');
  return {
    port: env['PORT'] ? wholeNumber('PORT', env['PORT'], 65_535) : 0,
    host: env['HOST'] || '127.0.0.1',
    data: values.data,
    home: fileURLToPath(new URL('../.data', import.meta.url)),
    isKept: values.keep ?? false,
    load: values.load === undefined ? 5 : wholeNumber('--load', values.load, LOAD_MAX),
    brokerUrl: url,
    commandsUrl,
    brokerProgram: values['broker-program'],
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        data: { type: 'string' },
        keep: { type: 'boolean' },
        load: { type: 'string' },
        'broker-url': { type: 'string' },
        'commands-url': { type: 'string' },
        'broker-program': { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    throw new Refusal(`${(error as Error).message.split('\n', 1)[0]}\n\n${USAGE}`);
  }
}

function wholeNumber(what: string, text: string, max: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value <= max) return value;
  throw new Refusal(`${what} is a whole number from 0 to ${max}; this is ${JSON.stringify(text)}.`);
}
