/**
 * A contender with a message that its handler cannot take: the handler throws each time, or its process ends each time and is started again at once, as a
 * supervisor would. Ten harmless messages come behind it.
 */
import { ClientProcess } from './client-process.js';
import type { Order, PoisonKind } from './client-program.js';
import type { Contender } from './contenders.js';

export interface Poisoned {
  /** How often the handler was given the poisoned message. */
  readonly times: number;
  /** Which of the harmless ones were handled at least once. */
  readonly harmless: number;
  /** Where messages were afterwards, when nobody had them out any more. */
  readonly left: string;
}

export type CountLeft = (contender: Contender, name: string) => Promise<string>;

/** Watched until `over` resolves. */
export async function poison(
  contender: Contender,
  host: string,
  name: string,
  kind: PoisonKind,
  over: () => Promise<unknown>,
  countLeft: CountLeft,
): Promise<Poisoned> {
  const settings = { at: contender.at(host), name, poison: kind };
  const harmless = new Set<string>();
  let times = 0;
  const taken = (order: Order): void => {
    if (order.isPoison) times += 1;
    else harmless.add(order.orderId);
  };
  let isOver = false;
  let handler = await ClientProcess.start(contender.file, { ...settings, role: 'handle' }, taken);
  const publisher = await ClientProcess.start(contender.file, { ...settings, role: 'publish' });
  const supervised = (async (): Promise<void> => {
    for (;;) {
      await handler.exited;
      if (isOver) return;
      handler = await ClientProcess.start(contender.file, { ...settings, role: 'handle' }, taken);
    }
  })();
  try {
    await publisher.ask('poison');
    await over();
  } finally {
    isOver = true;
    await Promise.all([publisher.kill(), handler.kill()]);
    await supervised;
  }
  return { times, harmless: harmless.size, left: await countLeft(contender, name) };
}
