import type { Clock } from '@dovecote/ground';
import { CodedError } from '../errors.js';
import type { Arena } from '../storage/arena.js';
import { admit, buryRefused } from './bounds.js';
import { withInteger, withoutHeader } from './content-edit.js';
import { propertiesStart } from './content.js';
import type { Deadlines } from './deadlines.js';
import { delayHeader, delayIn } from './delay.js';
import type { DelayedMessages, DelayHost } from './delayed-messages.js';
import { extraKeys } from './extra-keys.js';
import type { Gate } from './gate.js';
import type { Graveyard } from './graveyard.js';
import type { Intake } from './intake.js';
import type { MessageLog } from './message-log.js';
import { findProperty } from './properties.js';
import { nowhere, type Route } from './route.js';
import { ContentMessage } from './routed-message.js';
import type { Turn } from './turn.js';

/** What the release of held messages needs of its virtual host. */
export interface ReleaseHost {
  readonly arena: Arena;
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly intake: Intake;
  readonly graveyard: Graveyard;
  readonly turn: Turn;
  /** Where the message goes from this exchange on. */
  routeReleased(exchange: string, message: ContentMessage): Route;
}

const persistentMode = 2;

/**
 * Publishes messages that an exchange held until they were due: by the bindings, the alternate exchanges and the room in the queues
 * as they are now. What leads nowhere, or finds no room, is dropped: there is nobody left to tell.
 *
 * The record that puts a persistent message into its queues is the one that settles it here, so a crash leaves it in one of both places.
 */
export class Release implements DelayHost {
  constructor(
    private readonly host: ReleaseHost,
    private readonly gate: Gate,
    private readonly log: MessageLog | undefined,
  ) {}

  get arena(): Arena {
    return this.host.arena;
  }

  get clock(): Clock {
    return this.host.clock;
  }

  get deadlines(): Deadlines {
    return this.host.deadlines;
  }

  commitSoon(): void {
    this.host.turn.schedule();
  }

  get mustWait(): boolean {
    return this.gate.state === 'busy' || this.gate.isDiskFull;
  }

  release(held: DelayedMessages, sequence: number, bytes: Buffer, offset: number, length: number): void {
    const { host, log } = this;
    const keys = extraKeys(bytes, offset);
    let image = withInteger(bytes, offset, length, delayHeader, -delayIn(bytes, offset));
    const route = this.route(held, new ContentMessage(image, 0, keys));
    if (keys !== undefined) image = withoutHeader(image, 0, image.length, 'BCC') ?? image;
    const open = route.hasBounds ? admit(route, image, 0) : route;
    if (open !== route) buryRefused(route, open, host.graveyard, image, 0); // before it is settled, so that no crash loses it
    const flagsAt = propertiesStart(image, 0);
    const isPersistent = image[findProperty(image, flagsAt, 'deliveryMode')] === persistentMode;
    const isExpiring = findProperty(image, flagsAt, 'expiration') >= 0;
    const isKept = held.log !== undefined && isPersistent;
    if (isKept) log!.settleWithNext(held.id, sequence);
    host.intake.put(open, isPersistent, isExpiring, image, 0, image.length);
    if (isKept) log!.settleAlone();
    host.turn.schedule();
  }

  /** An exchange type that fails refuses a publish; here there is nobody to refuse. */
  private route(held: DelayedMessages, message: ContentMessage): Route {
    try {
      return this.host.routeReleased(held.name, message);
    } catch (error) {
      if (error instanceof CodedError) return nowhere;
      throw error;
    }
  }
}
