/** What commands about queues, exchanges and bindings have in common on the command line: where, with which arguments, and which message. */
import { type Command, Option } from 'commander';
import { UsageError } from './passwords.js';
import type { Terminal } from './terminal.js';

export type Arguments = Readonly<Record<string, unknown>>;

/** For commands about one thing, whose name alone does not say where it is. */
export function addVirtualHost(command: Command): Command {
  return command.option('--vhost <name>', 'virtual host', '/');
}

/** The end of a path: all virtual hosts where none is named. */
export function inVirtualHost(vhost: string | undefined): readonly string[] {
  return vhost === undefined ? [] : [vhost];
}

/** `--argument name=value`: numbers, true, false and JSON are taken for what they are, all else for a text. */
export function argumentsOption(description: string): Option {
  return new Option('--argument <name=value>', description).default({}, 'none').argParser((text: string, known: Arguments) => {
    const equals = text.indexOf('=');
    if (equals < 1) throw new UsageError(`--argument must be name=value; "${text}" was given`);
    return { ...known, [text.slice(0, equals)]: valueOf(text.slice(equals + 1)) };
  });
}

/** One message as the API takes it; its payload from standard input where none is given. */
export async function messageFrom(key: string, payload: string | undefined, properties: string, terminal: Terminal): Promise<object> {
  const parsed = valueOf(properties);
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw new UsageError(`--properties must be a JSON object; "${properties}" was given`);
  if (payload === undefined && terminal.isInteractive) throw new UsageError('Give the payload behind the name, or on standard input');
  return { properties: parsed, routing_key: key, payload: payload ?? (await terminal.readAll()), payload_encoding: 'string' };
}

/** `otherwise` says what else may stand there. */
export function wholeNumber(option: string, text: string, otherwise = ''): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new UsageError(`${option} must be a whole number${otherwise}; "${text}" was given`);
}

function valueOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
