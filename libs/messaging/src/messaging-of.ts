import type { Log } from './log.js';
import { Messaging } from './messaging.js';
import { type MessagingOptions, checkOptions } from './options.js';
import type { Telemetry } from './telemetry/telemetry.js';
import { chooseTransport } from './transports/choose-transport.js';

/** A service as its options say, with `telemetry` told in the place of OpenTelemetry. Throws a `MessagingError` where the options are no good. */
export function messagingOf(options: MessagingOptions, log: Log, telemetry?: Telemetry): Messaging {
  const settings = checkOptions(options);
  return new Messaging(settings, chooseTransport(settings, log), log, telemetry);
}
