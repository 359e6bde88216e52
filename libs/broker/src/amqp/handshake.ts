import type { FieldTable } from '../queues/field-table.js';
import { frameBytesMin, type AmqpLimits } from './limits.js';
import { type Login, mechanismsFor, readCredentials } from './login.js';
import type { Arguments } from './method-codec.js';
import type { ConnectionMethodName, MethodName } from './methods.js';
import { AmqpError, logText } from './replies.js';

/**
 * The first words of a connection, after its protocol header:
 *
 *   starting → (start-ok: who are you) → [checking] → tuning → (tune-ok: how large) → opening → (open: where to) → running
 *
 * Checking takes its time where the password's hash is a slow one; nothing is read meanwhile. *
 * Keeps what was negotiated. Throws AmqpError for what closes the connection.
 */
export type HandshakeState = 'starting' | 'checking' | 'tuning' | 'opening' | 'running';

type LoginOutcome = 'going-on' | 'refused';

export interface HandshakeParts {
  readonly limits: AmqpLimits;
  readonly login: Login;
  readonly remoteAddress: string;
  /** The name that the client's certificate has proved. */
  readonly peerName: string | undefined;
  /** Opens a virtual host for the user; throws a CodedError where that is refused. */
  readonly enter: (virtualHost: string) => void;
  readonly log: (line: string) => void;
  send<N extends MethodName>(name: N, values: Arguments<N>): void;
}

/** What is built, truthfully: clients ask here before they use it. */
const capabilities: FieldTable = {
  publisher_confirms: true,
  exchange_exchange_bindings: true,
  'basic.nack': true,
  consumer_cancel_notify: true,
  'connection.blocked': true,
  consumer_priorities: true,
  authentication_failure_close: true,
  per_consumer_qos: true,
  direct_reply_to: true,
};

const serverProperties: FieldTable = {
  capabilities,
  cluster_name: 'dovecote',
  copyright: 'Apache-2.0',
  information: 'A small broker that speaks AMQP 0-9-1 as RabbitMQ does.',
  platform: 'Dovecote on Node.js',
  // The broker that this one behaves like: clients read name and number, and choose their ways by them. See docs/decisions.
  product: 'RabbitMQ',
  version: '4.0.5',
};

const locale = 'en_US';

export class Handshake {
  state: HandshakeState = 'starting';
  user = '';
  mechanism = '';
  clientProperties: FieldTable = {};
  frameBytesMax = 0;
  channelsMax = 0;
  heartbeatS = 0;
  isToldOfCancels = false;
  isToldOfBlocks = false;
  private isToldOfRefusal = false;

  constructor(private readonly parts: HandshakeParts) {}

  start(): void {
    this.parts.send('connection.start', {
      versionMajor: 0,
      versionMinor: 9,
      serverProperties,
      mechanisms: Buffer.from(mechanismsFor(this.parts.peerName).join(' ')),
      locales: Buffer.from(locale),
    });
  }

  /**
   * Takes a method on channel 0. `refused`: the login failed and the client cannot be told why. A promise: the outcome is known when the
   * function that it resolves to is called, which throws as this does.
   * Anything that does not belong here now is refused as RabbitMQ does.
   */
  take(name: ConnectionMethodName, values: unknown): LoginOutcome | Promise<() => LoginOutcome> {
    if (name === 'connection.start-ok' && this.state === 'starting') return this.login(values as Arguments<'connection.start-ok'>);
    if (name === 'connection.tune-ok' && this.state === 'tuning') return this.tune(values as Arguments<'connection.tune-ok'>);
    if (name === 'connection.open' && this.state === 'opening') return this.open(values as Arguments<'connection.open'>);
    throw new AmqpError('channel-error', `unexpected method in connection state ${this.state}`);
  }

  private login(values: Arguments<'connection.start-ok'>): LoginOutcome | Promise<() => LoginOutcome> {
    const { mechanism, response, clientProperties } = values;
    this.readClientProperties(clientProperties);
    this.mechanism = mechanism;
    const { user, password } = readCredentials(mechanism, response, this.parts.peerName);
    const answer = this.parts.login(user, password, this.parts.remoteAddress);
    if (typeof answer === 'boolean') return this.finishLogin(answer, user, mechanism);
    this.state = 'checking';
    return answer.then((isRight) => () => this.finishLogin(isRight, user, mechanism));
  }

  private finishLogin(isRight: boolean, user: string, mechanism: string): LoginOutcome {
    const { parts } = this;
    if (!isRight) {
      parts.log(`login refused: user '${logText(user.slice(0, 100))}' from ${parts.remoteAddress} (${mechanism})`);
      if (!this.isToldOfRefusal) return 'refused';
      const explanation = `Login was refused using authentication mechanism ${mechanism}. For details see the broker logfile.`;
      throw new AmqpError('access-refused', explanation);
    }
    this.user = user;
    this.state = 'tuning';
    const { channelsMax, frameBytesMax, heartbeatS } = parts.limits;
    parts.send('connection.tune', { channelMax: channelsMax, frameMax: frameBytesMax, heartbeat: heartbeatS });
    return 'going-on';
  }

  private readClientProperties(properties: FieldTable): void {
    const asked = properties['capabilities'];
    const has = (name: string): boolean => typeof asked === 'object' && asked !== null && (asked as FieldTable)[name] === true;
    this.isToldOfCancels = has('consumer_cancel_notify');
    this.isToldOfBlocks = has('connection.blocked');
    this.isToldOfRefusal = has('authentication_failure_close');
    this.clientProperties = properties;
  }

  private tune(values: Arguments<'connection.tune-ok'>): 'going-on' {
    const { channelsMax, frameBytesMax } = this.parts.limits;
    checkNegotiated('frame_max', values.frameMax, frameBytesMin, frameBytesMax);
    checkNegotiated('channel_max', values.channelMax, 1, channelsMax);
    this.frameBytesMax = values.frameMax;
    this.channelsMax = values.channelMax;
    this.heartbeatS = values.heartbeat;
    this.state = 'opening';
    return 'going-on';
  }

  private open(values: Arguments<'connection.open'>): 'going-on' {
    this.parts.enter(values.virtualHost);
    this.state = 'running';
    this.parts.send('connection.open-ok', {});
    return 'going-on';
  }
}

function checkNegotiated(what: string, value: number, min: number, max: number): void {
  if (value === 0 || value > max) {
    const detail = value === 0 ? '0 (no limit)' : String(value);
    throw new AmqpError('not-allowed', `negotiated ${what} = ${detail} is higher than the maximum allowed value (${max})`);
  }
  if (value < min) throw new AmqpError('not-allowed', `negotiated ${what} = ${value} is lower than the minimum allowed value (${min})`);
}
