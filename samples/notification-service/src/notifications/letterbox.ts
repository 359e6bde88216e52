/**
 * Where notifications go: one line in this process's fact file, which the page shows as it grows. A real service would call a mail or push provider
 * here; the pace stands for the time that takes.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import type { Message } from '@dovecote/messaging';
import { FactFile } from '../facts/fact-file.js';

/** The most events one notification service holds at a time. The rest wait in the queue, where another one may take them. */
export const HELD_MAX = 20;

/** What stands behind the id of a handled event. */
export interface Notification {
  readonly type: string;
  readonly to: string;
  readonly text: string;
  /** From the moment the event happened until its notification went out. */
  readonly waitedMs: number;
}

@Injectable()
export class Letterbox {
  private paceMs = 0;

  constructor(private readonly facts: FactFile) {}

  setPace(ms: number): void {
    this.paceMs = ms;
  }

  async post(message: Message, to: string, text: string): Promise<void> {
    if (this.paceMs > 0) await delay(this.paceMs);
    const nowMs = Date.now();
    const notification: Notification = { type: message.type, to, text, waitedMs: Math.max(0, nowMs - (message.time?.getTime() ?? nowMs)) };
    this.facts.append('handled', message.id, notification);
  }
}
