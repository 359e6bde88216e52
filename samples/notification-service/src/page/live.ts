/** The observer, and its snapshots as a stream that any number of open pages share. */
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { Subject } from 'rxjs';
import { Stage } from '../stage/stage.js';
import { Observer, type Snapshot } from './observer.js';

@Injectable()
export class Live implements OnApplicationShutdown {
  readonly snapshots = new Subject<Snapshot>();
  readonly observer: Observer;

  constructor(stage: Stage, facts: string) {
    this.observer = new Observer(stage, facts, (snapshot) => this.snapshots.next(snapshot));
  }

  onApplicationShutdown(): void {
    this.snapshots.complete();
    this.observer.close();
  }
}
