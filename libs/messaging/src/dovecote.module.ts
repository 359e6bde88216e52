/**
 * The only thing an application imports: `DovecoteModule.forRoot({ service, broker })`, or `forRootAsync`. It is global, so a `Publisher` and `DeadLetters` can be
 * injected everywhere, and its hooks run first at the start and last at the shutdown.
 *
 *   start: connect, declare, subscribe      shutdown: take no more, finish running handlers, confirm what is published, leave
 */
import {
  type BeforeApplicationShutdown,
  ConfigurableModuleBuilder,
  Module,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
} from '@nestjs/common';
import { DiscoveryModule, DiscoveryService, ExternalContextCreator, MetadataScanner, ModuleRef, ModulesContainer } from '@nestjs/core';
import { DeadLetters } from './dead-letters.js';
import { Messaging } from './messaging.js';
import { messagingOf } from './messaging-of.js';
import { MessagingPlan } from './messaging-plan.js';
import { nestLog } from './nest-log.js';
import { type MessagingOptions, checkOptions } from './options.js';
import { Publisher } from './publisher.js';
import { SubscriptionsExplorer } from './subscriptions.explorer.js';
import type { Telemetry } from './telemetry/telemetry.js';
import type { Transport } from './transport.js';
import { chooseTransport } from './transports/choose-transport.js';

const { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN } = new ConfigurableModuleBuilder<MessagingOptions>({ moduleName: 'Dovecote' })
  .setClassMethodName('forRoot')
  .setExtras({ isGlobal: true }, (definition, { isGlobal }) => ({ ...definition, global: isGlobal }))
  .build();

const messagingProvider = {
  provide: Messaging,
  inject: [MODULE_OPTIONS_TOKEN],
  useFactory: (options: MessagingOptions): Messaging => messagingOf(options, nestLog()),
};

/** For tests: what `Messaging` is overridden with, so that the application has other options than its own and is watched. */
export function messagingOver(
  change: (options: MessagingOptions) => MessagingOptions,
  telemetry: Telemetry,
): { readonly inject: (string | symbol)[]; readonly factory: (options: MessagingOptions) => Messaging } {
  return { inject: [MODULE_OPTIONS_TOKEN], factory: (options) => messagingOf(change(options), nestLog(), telemetry) };
}

const planProvider = {
  provide: MessagingPlan,
  inject: [MODULE_OPTIONS_TOKEN, SubscriptionsExplorer],
  useFactory: (options: MessagingOptions, explorer: SubscriptionsExplorer): MessagingPlan => {
    const settings = checkOptions({ ...options, topology: 'check' });
    const open = (): Transport => chooseTransport(settings, nestLog());
    return new MessagingPlan(settings.service, settings.prefetch, open, () => explorer.explore());
  },
};

const publisherProvider = { provide: Publisher, inject: [Messaging], useFactory: ({ publisher }: Messaging): Publisher => publisher };

const deadLettersProvider = {
  provide: DeadLetters,
  inject: [Messaging],
  useFactory: ({ deadLetters }: Messaging): DeadLetters => deadLetters,
};

const explorerProvider = {
  provide: SubscriptionsExplorer,
  inject: [DiscoveryService, MetadataScanner, ModulesContainer, ModuleRef, ExternalContextCreator, MODULE_OPTIONS_TOKEN],
  useFactory: (
    discovery: DiscoveryService,
    scanner: MetadataScanner,
    modules: ModulesContainer,
    moduleRef: ModuleRef,
    creator: ExternalContextCreator,
    { inheritAppConfig = false, retry = {} }: MessagingOptions,
  ): SubscriptionsExplorer => new SubscriptionsExplorer(discovery, scanner, modules, moduleRef, creator, inheritAppConfig, retry),
};

@Module({
  imports: [DiscoveryModule],
  providers: [messagingProvider, publisherProvider, deadLettersProvider, explorerProvider, planProvider],
  exports: [Publisher, DeadLetters, MessagingPlan],
})
export class DovecoteModule
  extends ConfigurableModuleClass
  implements OnApplicationBootstrap, BeforeApplicationShutdown, OnApplicationShutdown
{
  constructor(
    private readonly messaging: Messaging,
    private readonly explorer: SubscriptionsExplorer,
  ) {
    super();
  }

  async onApplicationBootstrap(): Promise<void> {
    await this.messaging.start(this.explorer.explore(), this.explorer.isPublisherInjected);
  }

  async beforeApplicationShutdown(): Promise<void> {
    await this.messaging.drain();
  }

  /** After the HTTP server has closed: until then a request may still publish. */
  async onApplicationShutdown(): Promise<void> {
    await this.messaging.close();
  }
}
