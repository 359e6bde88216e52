/**
 * What a service would find and make on its broker, without starting it: for a look before a deployment. It connects by itself, changes nothing, and lets go.
 *
 *   const app = await NestFactory.create(AppModule);      // not started: no init, no listen
 *   console.log(await app.get(MessagingPlan).text());
 */
import type { Subscription } from './subscription.js';
import { requestOf } from './subscription.js';
import { topologyText } from './topology-report.js';
import type { PlannedThing, Transport } from './transport.js';

export class MessagingPlan {
  /** `open` makes a transport that makes nothing. */
  constructor(
    private readonly service: string,
    private readonly prefetch: number,
    private readonly open: () => Transport,
    private readonly explore: () => readonly Subscription[],
  ) {}

  /** Rejects with a `MessagingError` whose sentence says what to do. Nothing for the embedded broker, which is as the service made it. */
  async look(): Promise<readonly PlannedThing[]> {
    const transport = this.open();
    try {
      await transport.open();
      return await transport.plan(requestOf(this.service, this.explore(), this.prefetch));
    } finally {
      await transport.close();
    }
  }

  /** The same, a line for each thing. */
  async text(): Promise<string> {
    return topologyText(await this.look());
  }
}
