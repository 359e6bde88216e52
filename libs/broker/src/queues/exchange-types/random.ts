import { CodedError } from '../../errors.js';
import type { ExchangeBinding, ExchangeContext, ExchangeRouter, ExchangeType } from '../exchange-type.js';

/** Each message follows one of the bindings, by chance. */
export const random: ExchangeType = { name: 'x-random', create: createRandomRouter };

/** The same among the queues of this node, which are all there are; bindings have no key. */
export const localRandom: ExchangeType = {
  name: 'x-local-random',
  checkBinding: ({ routingKey }) => {
    if (routingKey !== '') throw new CodedError('invalid-argument', `Non empty binding '${routingKey}' key not permitted`);
  },
  create: createRandomRouter,
};

function createRandomRouter({ random: chance }: ExchangeContext): ExchangeRouter {
  const bindings: ExchangeBinding[] = [];
  return {
    readsMessage: true, // its answer is another each time, so it must not be remembered
    add: (binding) => void bindings.push(binding),
    remove: (binding) => void bindings.splice(bindings.indexOf(binding), 1),
    route: (_message, follow) => {
      if (bindings.length > 0) follow(bindings[chance.below(bindings.length)]!);
    },
  };
}
