/** One promise of a broker, as a case for any runner: on a subject of its own, of which nothing is left at the end. For tests only. */
import { Bench, type Body, NotPromised } from './transport-bench.js';
import type { TransportSubject } from './transport-contract.js';

export interface ContractCase {
  readonly name: string;
  /** Rejects where the implementation does not keep the contract. `not-promised`: its capabilities say that it lacks what the case is about. */
  readonly run: () => Promise<'kept' | 'not-promised'>;
}

export function contractCase(name: string, open: () => Promise<TransportSubject>, body: Body): ContractCase {
  return {
    name,
    run: async () => {
      const subject = await open();
      const bench = new Bench(subject);
      try {
        await body(bench);
        return 'kept';
      } catch (error) {
        if (error instanceof NotPromised) return 'not-promised';
        throw error;
      } finally {
        await bench.close();
        await subject.close();
      }
    },
  };
}
