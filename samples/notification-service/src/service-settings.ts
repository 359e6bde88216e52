import { SentenceLogger } from './sentence-logger.js';

/** What every service is told by whoever starts it. Checked once, here. */
export interface ServiceSettings {
  /** Where the broker is: `amqp://user:password@host:port`, or `kafka://host:port`; or one for events and one for commands. */
  readonly broker: string | { readonly events: string; readonly commands: string };
  /** The file this process writes its facts to; it must not exist yet. */
  readonly facts: string;
  readonly log: SentenceLogger;
}

export function readServiceSettings(env: NodeJS.ProcessEnv): ServiceSettings {
  const { BROKER_URL: events, COMMANDS_URL: commands, FACT_FILE: facts } = env;
  if (!events || !facts)
    throw new Error(
      'Set BROKER_URL to the address of a broker and FACT_FILE to the file to write to, or start everything with `npm start`.',
    );
  return { broker: commands ? { events, commands } : events, facts, log: new SentenceLogger(Boolean(env['DEBUG'])) };
}
