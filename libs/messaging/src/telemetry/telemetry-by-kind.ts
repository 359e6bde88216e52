/** Tells of each kind of message in the words of its own broker, where kinds are on two. Keeps nothing. */
import type { MessageKind } from '../envelope.js';
import type { Telemetry } from './telemetry.js';

export function telemetryByKind(events: Telemetry, commands: Telemetry): Telemetry {
  const of = (kind: MessageKind): Telemetry => (kind === 'event' ? events : commands);
  return {
    publish: (outgoing, send) => of(outgoing.envelope.kind).publish(outgoing, send),
    handler: (subscription) => of(subscription.kind).handler(subscription),
    buried: (envelope, death) => of(envelope.kind).buried(envelope, death),
  };
}
