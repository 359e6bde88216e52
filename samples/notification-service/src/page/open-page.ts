/**
 * The page: a Nest HTTP application in the stage's own process, on this machine only. Everything it shows comes with it, so it works without the internet.
 */
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
export async function openPage(options: { stage: Stage; facts: string; port: number }): Promise<Page> {
  const app = await NestFactory.create<NestExpressApplication>(PageModule.for(options.stage, options.facts), {
    logger: new SentenceLogger(),
    forceCloseConnections: true,
  });
  app.useGlobalFilters(new RefusalFilter());
  app.useGlobalGuards(new SameOrigin());
  app.useStaticAssets(fileURLToPath(new URL('../../page', import.meta.url)));
  app.useStaticAssets(dirname(createRequire(import.meta.url).resolve('uplot/dist/uPlot.min.css')), { prefix: '/uplot' });
  const port = await listen(app, options.port);
  return { port, close: () => app.close() };
}

async function listen(app: NestExpressApplication, wanted: number): Promise<number> {
  try {
    await app.listen(wanted, '127.0.0.1');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || wanted === 0) throw error;
    await app.listen(0, '127.0.0.1');
  }
  return (app.getHttpServer().address() as { port: number }).port;
}
