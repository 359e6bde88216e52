/**
 * The page's own small API. `GET /api/counters` is for programs too; the rest is what the buttons do.
 */
import { Body, Controller, Get, HttpCode, Param, Post, Sse } from '@nestjs/common';
import { type Observable, concat, map, of } from 'rxjs';
import { Stage } from '../stage/stage.js';
import { Live } from './live.js';
import type { Counters, ProcessView } from './observer.js';

@Controller('api')
export class PageController {
  constructor(
    private readonly stage: Stage,
    private readonly live: Live,
  ) {}

  @Get('counters')
  counters(): Counters {
    return this.live.observer.counters();
  }

  @Get('processes')
  processes(): ProcessView[] {
    return this.live.observer.processes();
  }

  /** Server-sent events: first the past (two minutes of the charts, the last notifications), then a snapshot four times a second. */
  @Sse('live')
  watch(): Observable<{ type: string; data: object }> {
    const { observer } = this.live;
    const past = of({ type: 'past', data: { points: observer.history.points, notifications: observer.notifications() } });
    return concat(past, this.live.snapshots.pipe(map((data) => ({ type: 'snapshot', data }))));
  }

  @Post('senders/:name/happen')
  @HttpCode(204)
  happen(@Param('name') name: string): void {
    this.stage.happen(name);
  }

  @Post('load')
  @HttpCode(204)
  setLoad(@Body() body?: { perSecond?: unknown }): void {
    this.stage.setLoad(body?.perSecond);
  }

  @Post('pace')
  @HttpCode(204)
  setPace(@Body() body?: { ms?: unknown }): void {
    this.stage.setPace(body?.ms);
  }

  @Post('processes/:name/kill')
  @HttpCode(204)
  async kill(@Param('name') name: string): Promise<void> {
    await this.stage.killChild(name);
  }

  @Post('processes/:name/start')
  @HttpCode(204)
  async start(@Param('name') name: string): Promise<void> {
    await this.stage.startChild(name);
  }
}
