/**
 * What becomes of a message on which no handler succeeded, where it has a place in the order of its key: it waits there, instead of going back through the
 * inbox. For all others as ever (settlement.ts).
 */
import type { Death, Envelope } from '../envelope.js';
import type { Log } from '../log.js';
import type { MessageCodec } from '../message-codec.js';
import type { Answer } from '../reply.js';
import type { Outcomes, Settlement } from '../settlement.js';
import type { Incoming, UnreadableEnvelope } from '../transport.js';
import { OrderedIncoming } from './ordered-message.js';

export class OrderedSettlement implements Outcomes {
  constructor(
    private readonly settlement: Settlement,
    private readonly log: Log,
  ) {}

  get nowMs(): number {
    return this.settlement.nowMs;
  }

  get group(): string {
    return this.settlement.group;
  }

  answer(question: Envelope, answer: Answer, codec?: MessageCodec): void {
    this.settlement.answer(question, answer, codec);
  }

  again(incoming: Incoming, envelope: Envelope, delayMs: number, sentence: string): void {
    if (!(incoming instanceof OrderedIncoming)) return this.settlement.again(incoming, envelope, delayMs, sentence);
    this.log.warn(`${sentence}. It comes again in ${delayMs} ms, and the later ones of its key after it.`);
    incoming.end({ kind: 'again', envelope, delayMs });
  }

  suspect(incoming: Incoming, envelope: Envelope): void {
    this.settlement.suspect(incoming, envelope);
  }

  noteEnd(incoming: Incoming, envelope: Envelope): void {
    this.settlement.noteEnd(incoming, envelope);
  }

  bury(incoming: Incoming, envelope: Envelope | UnreadableEnvelope, death: Omit<Death, 'group' | 'atMs'>, sentence: string): void {
    if (!(incoming instanceof OrderedIncoming) || !incoming.isStrict || 'problem' in envelope)
      return this.settlement.bury(incoming, envelope, death, sentence);
    const { group, nowMs: atMs } = this;
    this.log.error(`${sentence}. It goes among the dead letters of '${group}', and its key waits until it is sent again or thrown away.`);
    this.settlement.answer(envelope, { error: { code: death.cause, message: death.reason } });
    incoming.end({ kind: 'dead', envelope, death: { ...death, group, atMs } });
  }

  hold(incoming: Incoming, sentence: string): void {
    // Its lane goes: whoever has it next has the message.
    if (incoming instanceof OrderedIncoming && incoming.isTakenBack) incoming.release();
    else this.settlement.hold(incoming, sentence);
  }
}
