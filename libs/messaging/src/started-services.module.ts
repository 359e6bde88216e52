/** Applications that a test starts, and what else it has to end: in the reverse order, at the end of the test. For tests only. */
import { type INestApplicationContext, Logger, type Provider } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { DovecoteModule, type MessagingOptions } from './index.js';

export class StartedServices {
  readonly #endings: (() => Promise<unknown>)[] = [];

  /** Says nothing of what it does. */
  async start(options: MessagingOptions, providers: readonly Provider[] = []): Promise<INestApplicationContext> {
    const module = { module: class AppModule {}, imports: [DovecoteModule.forRoot(options)], providers: [...providers] };
    const app = await NestFactory.createApplicationContext(module, { abortOnError: false, logger: false });
    this.add(() => app.close());
    return app;
  }

  add(end: () => Promise<unknown>): void {
    this.#endings.push(end);
  }

  async end(): Promise<void> {
    for (const end of this.#endings.splice(0).reverse()) await end();
    Logger.overrideLogger(false);
  }
}
