import type { Command } from './model-words.js';
import { ModelHosts } from './model-hosts.js';
import type { ModelClient } from './model-client.js';

/** Says commands to a broker and holds what comes back against the model. */
export class ModelRun {
  model: ModelHosts;

  constructor(
    readonly client: ModelClient,
    connections: readonly number[],
    hosts: readonly string[],
    private readonly now: () => number,
    private readonly pause: (ms: number) => Promise<void>,
    /** How far the clocks of the broker and of the model may be apart: nothing may fall due so near to a command. */
    private readonly marginMs: number,
  ) {
    this.model = new ModelHosts(connections, hosts);
  }

  /** Throws ModelBroken where the broker did what it should not have. */
  async step(command: Command): Promise<void> {
    await this.avoidDue(command.who, 3 * this.marginMs);
    await this.say(command);
    await this.client.open();
  }

  private async say(command: Command): Promise<void> {
    const saidAt = this.now();
    this.client.say(command, command.do === 'settle' ? this.model.tagFor(command) : 0, this.model.nextBody(command.who));
    if (command.do === 'wait') await this.pause(command.ms);
    const seen = await this.client.listen(command);
    this.model.step(command, saidAt, this.now(), seen);
  }

  /** Lets pass what would happen by itself within the next `aheadMs`, while something else is under way. */
  async avoidDue(who: number, aheadMs: number): Promise<void> {
    for (;;) {
      const now = this.now();
      const due = this.model.dueBehind(now - this.marginMs);
      if (due > now + aheadMs) return;
      await this.say({ who, do: 'wait', ms: due - now + this.marginMs });
    }
  }
}
