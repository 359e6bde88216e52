/**
 * The page: a Nest HTTP application in the stage's own process, on this machine only. Everything it shows comes with it, so it works without the internet.
 */
import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname } from 'node:path';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { type DynamicModule, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { SentenceLogger } from '../sentence-logger.js';
import { Stage } from '../stage/stage.js';
import { Live } from './live.js';
import { PageController } from './page.controller.js';
import { RefusalFilter, SameOrigin } from './refusals.js';

export interface Page {
  readonly port: number;
  close(): Promise<void>;
}

@Module({})
class PageModule {
  static for(stage: Stage, facts: string): DynamicModule {
    return {
      module: PageModule,
      controllers: [PageController],
      providers: [
        { provide: Stage, useValue: stage },
        { provide: Live, useFactory: () => new Live(stage, facts) },
      ],
    };
  }
}

/** Opens the page on `port`, or on a free port where that one is taken (or 0). */
export async function openPage(options: { stage: Stage; facts: string; port: number; host: string }): Promise<Page> {
  const app = await NestFactory.create<NestExpressApplication>(PageModule.for(options.stage, options.facts), {
    logger: new SentenceLogger(),
    forceCloseConnections: true,
  });
  app.useGlobalFilters(new RefusalFilter());
  app.useGlobalGuards(new SameOrigin());
  app.useStaticAssets(fileURLToPath(new URL('../../page', import.meta.url)));
  app.useStaticAssets(dirname(createRequire(import.meta.url).resolve('uplot/dist/uPlot.min.css')), { prefix: '/uplot' });
  await app.init();
  const port = await listen(app.getHttpServer(), options.port, options.host);
  return { port, close: () => app.close() };
}

/** Not by Nest's own `listen`, which reports a taken port at the console although we know what to do about it. */
async function listen(server: Server, wanted: number, host: string): Promise<number> {
  try {
    await once(server.listen(wanted, host), 'listening');
  } catch (error) {
    const isTaken = ['EADDRINUSE', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '');
    if (!isTaken || wanted === 0) throw error;
    return listen(server, 0, host);
  }
  return (server.address() as AddressInfo).port;
}
