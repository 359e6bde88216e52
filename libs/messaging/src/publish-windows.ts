/**
 * A window for each broker, where kinds are on two: while one of them is away, what waits for it takes no room from what is for the other. In memory only.
 */
import type { Envelope } from './envelope.js';
import type { PublishWindow } from './publish-window.js';
import type { Route } from './transport.js';

export class PublishWindows implements Pick<PublishWindow, 'prepare' | 'open' | 'close' | 'publish'> {
  constructor(
    private readonly events: PublishWindow,
    private readonly commands: PublishWindow,
  ) {}

  prepare(): void {
    this.events.prepare();
    this.commands.prepare();
  }

  open(send: Parameters<PublishWindow['open']>[0]): void {
    this.events.open(send);
    this.commands.open(send);
  }

  publish(envelope: Envelope, route?: Route): Promise<void> {
    return (envelope.kind === 'event' ? this.events : this.commands).publish(envelope, route);
  }

  async close(patienceMs: number): Promise<void> {
    await Promise.all([this.events.close(patienceMs), this.commands.close(patienceMs)]);
  }
}
