/**
 * What a benchmark beside a peer is told, and its two sides: our daemon, and a peer that is there already or is started once by a script. They are measured in
 * turn, round after round, by whoever knows the protocol.
 */
import { existsSync } from 'node:fs';
import { setTimeout as pass } from 'node:timers/promises';
import { Comparison } from './comparison.js';
import type { Figure } from './figure.js';
import { startScriptedPeer } from './peer-script.js';
import type { Report } from './report.js';

export interface Stretch {
  readonly warmupMs: number;
  readonly measureMs: number;
}

export interface DaemonOptions {
  /** The daemon's compiled main file. */
  readonly file: string;
  /** Where its data folders are made. */
  readonly dataRoot: string;
}

/** Where a peer is that runs already, or what starts one. */
export type PeerChoice = { readonly address: string; readonly pid: number | undefined } | { readonly script: string };

export interface SidesOptions<Case extends string, Durability extends string> {
  readonly cases: readonly Case[];
  readonly durabilities: readonly Durability[];
  readonly rounds: number;
  readonly stretch: Stretch;
  /** undefined measures only the peer. */
  readonly daemon: DaemonOptions | undefined;
  readonly peer: PeerChoice | undefined;
  /** Told what is being done, a line at a time. */
  readonly progress: (line: string) => void;
}

/** One that is measured. */
export interface Side {
  /** The root of its processes; undefined when it runs elsewhere. */
  readonly pid: number | undefined;
  stop(): Promise<void>;
}

export interface Peer<Server extends Side> {
  readonly server: Server;
  /** What it calls itself, such as "RabbitMQ 4.0.5". */
  readonly name: string;
  /** How long the script took until the peer answered, when this run started it. */
  readonly startMs: number | undefined;
}

/** What only one protocol knows. */
export interface Protocol<Server extends Side, Task> {
  readonly benchmark: string;
  /** How a running peer is given. */
  readonly peerOption: string;
  /** What more cannot be measured of a peer that was running before; a part of a sentence. */
  readonly unmeasured: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly attach: (address: string, pid: number | undefined) => Promise<Peer<Server>>;
  readonly start: (script: string) => Promise<Peer<Server>>;
  ceiling(): Promise<Figure[]>;
  measureStarts(): Promise<void>;
  readonly tasks: readonly Task[];
  measureRound(task: Task, round: number): Promise<void>;
}

/** Idle memory is read when what the peer's own start left has been collected. */
const peerSettleMs = 3000;
/** The stand-in servers need no warming up beyond this, and their figures hardly vary. */
export const ceilingStretch: Stretch = { warmupMs: 500, measureMs: 1500 };

/** One that the script started is stopped by it; one that was running before is left running. */
export async function startByScript<Server extends Side>(
  script: string,
  attach: Protocol<Server, unknown>['attach'],
): Promise<Peer<Server>> {
  const { url, pid, startMs, stop } = await startScriptedPeer(script);
  const before = performance.now();
  const peer = await attach(url, pid);
  return { ...peer, server: { ...peer.server, stop }, startMs: startMs === undefined ? undefined : startMs + performance.now() - before };
}

export class Sides<Server extends Side> {
  readonly gathered: Comparison;
  peer: Peer<Server> | undefined;

  constructor(private readonly options: SidesOptions<string, string>) {
    this.gathered = new Comparison(options.progress);
  }

  async report<Task>(protocol: Protocol<Server, Task>): Promise<Report> {
    const { cases, rounds, stretch, daemon } = this.options;
    // Better once at the beginning than in every case.
    if (daemon !== undefined && !existsSync(daemon.file))
      throw new Error(`there is no daemon at ${daemon.file}; build it first (npm run build)`);
    await this.findPeer(protocol);
    try {
      await this.gathered.take('bare', { caseTitle: 'generator ceiling', promise: '', round: 1 }, () => protocol.ceiling());
      if (cases.includes('start')) await protocol.measureStarts();
      for (const task of protocol.tasks) for (let round = 1; round <= rounds; round++) await protocol.measureRound(task, round);
    } finally {
      await this.peer?.server.stop();
    }
    this.gathered.noteDisturbance();
    const { notes, failures, measurements } = this.gathered;
    return {
      benchmark: protocol.benchmark,
      ours: daemon ? 'the daemon of this repository' : 'not measured',
      peer: this.peer?.name,
      options: { rounds, ...stretch, ...protocol.options },
      notes,
      failures,
      measurements,
    };
  }

  /** The peer's start as its script told it, and its memory when it has come to rest. */
  async takePeerStart(caseTitle: string, measure: (peer: Peer<Server>) => Figure[]): Promise<void> {
    const { peer } = this;
    if (peer === undefined) return;
    await this.gathered.take('peer', { caseTitle, promise: '', round: 1 }, async () => {
      await pass(peerSettleMs);
      return measure(peer);
    });
  }

  private async findPeer<Task>({ peerOption, unmeasured, attach, start }: Protocol<Server, Task>): Promise<void> {
    const { peer } = this.options;
    const { notes } = this.gathered;
    if (peer === undefined) {
      notes.push(`no peer: give one with --peer ${peerOption} or --peer-script FILE`);
      return;
    }
    this.peer = await ('script' in peer ? start(peer.script) : attach(peer.address, peer.pid));
    if (this.peer.server.pid === undefined)
      notes.push('the process of the peer is not known, so its processor time and memory are left out');
    if (this.peer.startMs === undefined) notes.push(`the peer was running before: its start was not measured, ${unmeasured}`);
  }
}
