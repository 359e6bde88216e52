/**
 * Finds the methods with `@Subscribe` and `@Handle` and builds a callable of each, with its guards, pipes, interceptors and filters around it, as Nest does for
 * the methods of a controller. Runs once, when the application has started. Keeps nothing.
 *
 * The context type is `rpc`: `switchToRpc().getData()` is the event, `getContext()` the message.
 */
import {
  ApplicationConfig,
  ContextIdFactory,
  type DiscoveryService,
  ExternalContextCreator,
  type MetadataScanner,
  ModuleRef,
  type ModulesContainer,
} from '@nestjs/core';
import type { NestContainer } from '@nestjs/core';
import { type RetryOptions, contractOf } from './delivery-contract.js';
import { MessagingError } from './errors.js';
import { messageDefinitionOf } from './message-definition.js';
import { type Callable, type HandlerParts, createHandler } from './invocation.explorer.js';
import { Publisher } from './publisher.js';
import { type Subscription, type SubscriptionRecord, subscriptionRecordsOf } from './subscription.js';
import { isWellFormed } from './type-pattern.js';

type Wrapper = ReturnType<DiscoveryService['getProviders']>[number];

/** Where Nest's parameter decorators record themselves; `@Payload()` and `@Ctx()` of @nestjs/microservices use it too. */
const RECORDED_PARAMETERS = '__routeArguments__';
/** Where `@UsePipes` records itself. */
const RECORDED_PIPES = '__pipes__';
/** Where `@Inject()` records itself, on parameters of a constructor and on properties. */
const INJECTED_PARAMETERS = 'self:paramtypes';
const INJECTED_PROPERTIES = 'self:properties_metadata';
/** Where the parameters of a handler are recorded for this package, by the class and the method's name. */
const HANDLER_PARAMETERS = 'dovecote:handler-parameters';
/** Numbers of Nest's parameter kinds. Pipes see the first as a body; a validation pipe leaves the second alone. */
const PAYLOAD = 3;
const CONTEXT = 6;

interface Parameter {
  readonly index: number;
  readonly data?: unknown;
  readonly pipes: readonly unknown[];
}

const parametersFactory = {
  exchangeKeyForValue(kind: number, field: unknown, [event, message]: readonly unknown[]): unknown {
    if (kind === CONTEXT) return message;
    if (kind !== PAYLOAD) return undefined;
    return typeof field === 'string' ? (event as Readonly<Record<string, unknown>>)[field] : event;
  },
};

export class SubscriptionsExplorer {
  readonly #creator: ExternalContextCreator;

  constructor(
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
    private readonly modules: ModulesContainer,
    moduleRef: ModuleRef,
    inheritedCreator: ExternalContextCreator,
    private readonly inheritAppConfig: boolean,
    private readonly retry: RetryOptions,
  ) {
    this.#creator = inheritAppConfig ? inheritedCreator : creatorWithoutGlobals(moduleRef);
  }

  /** Throws a `MessagingError` whose sentence names the method that cannot be subscribed. */
  explore(): Subscription[] {
    const subscriptions: Subscription[] = [];
    for (const wrapper of [...this.discovery.getProviders(), ...this.discovery.getControllers()]) {
      // Another name for a provider that is found under its own.
      if (wrapper.isAlias) continue;
      const prototype = prototypeOf(wrapper);
      if (prototype === undefined) continue;
      for (const name of this.scanner.getAllMethodNames(prototype)) {
        const method: unknown = Reflect.get(prototype, name);
        if (typeof method !== 'function') continue;
        for (const record of subscriptionRecordsOf(method)) subscriptions.push(this.#subscription(wrapper, prototype, name, record));
      }
    }
    return subscriptions;
  }

  /**
   * Whether something of the application is given the publisher, so that a handler may publish. What takes it out of the container by itself is not seen:
   * that is what the option `tracksCauses` is for.
   */
  get isPublisherInjected(): boolean {
    return [...this.discovery.getProviders(), ...this.discovery.getControllers()].some(({ inject, metatype }) => {
      if (inject?.some((one) => one === Publisher) === true) return true;
      if (typeof metatype !== 'function') return false;
      const given = (Reflect.getMetadata('design:paramtypes', metatype) ?? []) as readonly unknown[];
      const named = [
        ...((Reflect.getMetadata(INJECTED_PARAMETERS, metatype) ?? []) as readonly { readonly param?: unknown }[]).map(
          ({ param }) => param,
        ),
        ...((Reflect.getMetadata(INJECTED_PROPERTIES, metatype) ?? []) as readonly { readonly type?: unknown }[]).map(({ type }) => type),
      ];
      return given.includes(Publisher) || named.includes(Publisher);
    });
  }

  #subscription(wrapper: Wrapper, prototype: object, name: string, record: SubscriptionRecord): Subscription {
    const place = `${prototype.constructor.name}.${name}`;
    const subject = subjectOf(record, place);
    const { options } = record;
    const contract = contractOf({ ...options, retry: { ...this.retry, ...options.retry } }, place);
    const hasParameters = this.inheritAppConfig || usesParameters(prototype, name);
    if (hasParameters) recordParameters(prototype, name);
    const parameters = hasParameters ? { key: HANDLER_PARAMETERS, factory: parametersFactory } : undefined;
    const creator = this.#creatorFor(wrapper);
    const handle = isStatic(wrapper)
      ? createHandler(creator, { instance: wrapper.instance as object, name, parameters })
      : perMessage(creator, wrapper, { name, parameters }, subject.pattern);
    return { ...subject, contract, place, handle };
  }

  /**
   * Nest's builder looks among the providers of all modules for the class, and finds no controller, nor the right module where several provide it;
   * enhancers it then cannot resolve, guards among them, it would leave out in silence. Here the module is known.
   */
  #creatorFor(wrapper: Wrapper): ExternalContextCreator {
    const [key] = [...this.modules].find(([, module]) => module === wrapper.host) ?? [];
    if (key === undefined)
      throw new MessagingError('unsupported', `${String(wrapper.name)} with @Subscribe belongs to no module of this application.`);
    const known = { value: () => key };
    return Object.create(this.#creator, { getContextModuleKey: known, getHostModuleKey: known }) as ExternalContextCreator;
  }
}

type Subject = Pick<Subscription, 'kind' | 'pattern' | 'topic' | 'messageClass' | 'schema' | 'codec' | 'answerCodec'>;

/** What the method takes, from its decorator. */
function subjectOf({ decorator, subject }: SubscriptionRecord, place: string): Subject {
  if (typeof subject === 'string') {
    if (isWellFormed(subject)) return { kind: 'event', pattern: subject, topic: undefined, messageClass: undefined, schema: undefined };
    throw new MessagingError(
      'invalid-options',
      `${place}: '${subject}' is no pattern of types: words of letters, digits, - and _ with dots between, or * for one of them, or # for any number, such as 'orders.*'.`,
    );
  }
  const definition = typeof subject === 'function' ? messageDefinitionOf(subject) : undefined;
  const name = typeof subject === 'function' ? subject.name : `${String(subject)} (a circular import?)`;
  if (definition === undefined) {
    const [verb, what, decorators] =
      decorator === 'Subscribe'
        ? ['subscribes to', 'no event', "@EventMessage('some.type')"]
        : ['handles', 'neither a command nor a query', "@CommandMessage('some.type') or @QueryMessage('some.type')"];
    throw new MessagingError(
      'not-an-event',
      `${place} ${verb} ${name}, which is ${what}: put ${decorators} on the class itself (a parent's does not count).`,
    );
  }
  const { kind, type: pattern, topic, schema, codec, answerCodec } = definition;
  if ((kind === 'event') !== (decorator === 'Subscribe')) {
    const advice = kind === 'event' ? 'an event: use @Subscribe' : `a ${kind}: use @Handle`;
    throw new MessagingError('not-an-event', `${place} has @${decorator} for ${name}, which is ${advice}.`);
  }
  return { kind, pattern, topic, messageClass: subject, schema, codec, answerCodec };
}

function isStatic(wrapper: Wrapper): boolean {
  return wrapper.isDependencyTreeStatic() && !wrapper.isTransient;
}

/** A handler in request scope gets an instance of its own for every message; `@Inject(REQUEST)` is what an RPC handler would see. */
function perMessage(
  creator: ExternalContextCreator,
  wrapper: Wrapper,
  method: Pick<HandlerParts, 'name' | 'parameters'>,
  pattern: string,
): Callable {
  // Its module is there: the builder was made for it.
  const moduleRef = wrapper.host?.getProviderByKey<ModuleRef>(ModuleRef).instance as ModuleRef;
  return async (event, message) => {
    const request = { pattern, data: event, context: message };
    const contextId = ContextIdFactory.getByRequest(request);
    moduleRef.registerRequestByContextId(request, contextId);
    const instance = await moduleRef.resolve<object>(wrapper.token, contextId, { strict: true });
    return createHandler(creator, { ...method, instance, contextId, inquirerId: wrapper.id })(event, message);
  };
}

/**
 * Builds handlers as Nest would in an application without global guards, pipes, interceptors and filters. Its own hybrid applications keep those
 * away from message handlers in the same way: they are written for HTTP requests, and there is none.
 */
function creatorWithoutGlobals(moduleRef: ModuleRef): ExternalContextCreator {
  // Not public, but the only way to Nest's own builder with another configuration; every version of Nest 11 and 12 has it.
  const container = Reflect.get(moduleRef, 'container') as NestContainer;
  const bare = Object.create(container, { applicationConfig: { value: new ApplicationConfig() } }) as NestContainer;
  return ExternalContextCreator.fromContainer(bare);
}

function prototypeOf(wrapper: Wrapper): object | undefined {
  const instance: unknown = wrapper.instance;
  if (typeof instance === 'object' && instance !== null) return (Object.getPrototypeOf(instance) as object | null) ?? undefined;
  return undefined;
}

function usesParameters(prototype: object, name: string): boolean {
  const owner = prototype.constructor;
  return (
    Reflect.hasMetadata(RECORDED_PARAMETERS, owner, name) ||
    Reflect.hasMetadata(RECORDED_PIPES, owner) ||
    Reflect.hasMetadata(RECORDED_PIPES, Reflect.get(prototype, name) as object)
  );
}

/** Event first, message second, unless the method's own parameter decorators say otherwise. */
function recordParameters(prototype: object, name: string): void {
  const owner = prototype.constructor;
  const recorded = (Reflect.getMetadata(RECORDED_PARAMETERS, owner, name) ?? {}) as Readonly<Record<string, Parameter>>;
  const taken = new Set(Object.values(recorded).map(({ index }) => index));
  const parameters: Record<string, Parameter> = { ...recorded };
  if (!taken.has(0)) parameters[`${PAYLOAD}:0`] = { index: 0, pipes: [] };
  if (!taken.has(1)) parameters[`${CONTEXT}:1`] = { index: 1, pipes: [] };
  Reflect.defineMetadata(HANDLER_PARAMETERS, parameters, owner, name);
}
