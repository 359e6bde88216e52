/**
 * Reading a process from outside, and making few numbers of many.
 */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { summarize, type Measurement } from './figure.js';
import { parseStat, readBusyUs, readProcessTree } from './process-tree.js';
import { formatReport, formatValue, reportAsJson } from './report.js';
import { median, Samples } from './statistics.js';

describe('the processor time and memory of a process tree', () => {
  let procFolder: string;
  beforeEach(() => {
    procFolder = mkdtempSync(join(tmpdir(), 'proc-'));
  });
  afterEach(() => rmSync(procFolder, { recursive: true }));

  const fakeProcess = (pid: number, parentPid: number, name: string, ticks: readonly number[], residentKilobytes?: number): void => {
    mkdirSync(join(procFolder, String(pid)));
    writeFileSync(
      join(procFolder, String(pid), 'stat'),
      `${pid} (${name}) S ${parentPid} 1 1 0 -1 4194560 1 2 3 4 ${ticks.join(' ')} 20 0 7 0 100 9 9\n`,
    );
    const resident = residentKilobytes === undefined ? '' : `VmRSS:\t   ${residentKilobytes} kB\n`;
    writeFileSync(join(procFolder, String(pid), 'status'), `Name:\t${name}\nVmHWM:\t 999999 kB\n${resident}Threads:\t7\n`);
  };

  it('adds up all descendants and the children they have buried, and nobody else', () => {
    fakeProcess(1, 0, 'init', [1000, 1000, 9000, 9000], 50);
    fakeProcess(70, 1, 'server', [10, 5, 2, 1], 100_000);
    fakeProcess(9, 70, 'child that is older by number', [1, 2, 0, 0], 3000);
    fakeProcess(900, 9, 'grand (child) 1 2', [30, 40, 0, 0], 500);
    fakeProcess(71, 1, 'stranger', [500, 500, 0, 0], 700);
    fakeProcess(72, 70, 'zombie without memory', [4, 0, 0, 0]);
    mkdirSync(join(procFolder, 'self'));
    mkdirSync(join(procFolder, '5000'));
    expect(readProcessTree(70, procFolder)).toEqual({ cpuUs: (18 + 3 + 70 + 4) * 10_000, residentBytes: 103_500 * 1024 });
    expect(readProcessTree(4, procFolder)).toBeUndefined();
  });

  it('sums up what all processors did, without idling and waiting for the disk, and no guest twice', () => {
    writeFileSync(join(procFolder, 'stat'), 'cpu  1 2 3 1000 2000 10 20 30 500 600\ncpu0 9 9 9 9 9 9 9 9 9 9\nintr 1 2\n');
    expect(readBusyUs(procFolder)).toBe(66 * 10_000);
    expect(readBusyUs(join(procFolder, 'absent'))).toBeUndefined();
  });

  it('reads no figure out of a line it does not understand', () => {
    expect(parseStat('')).toBeUndefined();
    expect(parseStat('12 (node) S 1 2 3')).toBeUndefined();
    expect(parseStat(`3 (a) b) R 2 ${Array.from({ length: 20 }, (_, index) => index).join(' ')}`)).toEqual({
      pid: 3,
      parentPid: 2,
      ticks: 9 + 10 + 11 + 12,
    });
  });

  it('sees this very process work, where there is a /proc', () => {
    if (process.platform !== 'linux') return;
    const before = readProcessTree(process.pid);
    const own = process.cpuUsage();
    while (process.cpuUsage(own).user + process.cpuUsage(own).system < 60_000);
    const spentUs = (readProcessTree(process.pid)?.cpuUs ?? 0) - (before?.cpuUs ?? 0);
    expect(spentUs).toBeGreaterThanOrEqual(40_000);
    expect(before?.residentBytes).toBeGreaterThan(10_000_000);
  });
});

describe('statistics', () => {
  it('finds the middle, without touching what it was given', () => {
    const values = [9, 1, 5];
    expect(median(values)).toBe(5);
    expect(values).toEqual([9, 1, 5]);
    expect(median([4, 1, 100, 2])).toBe(3);
    expect(median([])).toBeUndefined();
  });

  it('takes percentiles by rank, through growth, clearing and adding more', () => {
    const samples = new Samples();
    expect(samples.percentile(0.5)).toBeUndefined();
    for (let value = 10_000; value >= 1; value--) samples.add(value);
    expect([samples.count, samples.percentile(0.5), samples.percentile(0.99), samples.percentile(1), samples.percentile(0)]).toEqual([
      10_000, 5000, 9900, 10_000, 1,
    ]);
    samples.add(0);
    expect(samples.percentile(0)).toBe(0);
    samples.clear();
    samples.add(7);
    expect([samples.count, samples.percentile(0.99)]).toEqual([1, 7]);
  });
});

describe('the report', () => {
  const measured = (side: Measurement['side'], round: number, value: number | undefined): Measurement => ({
    side,
    caseTitle: 'a case',
    promise: 'B',
    round,
    name: 'messages',
    unit: '1/s',
    value,
  });

  it('puts medians and their ratio side by side, and leaves out what could not be known', () => {
    const measurements = [
      measured('ours', 1, 400),
      measured('peer', 1, 100),
      measured('ours', 2, 200),
      measured('ours', 3, 900),
      measured('peer', 2, undefined),
    ];
    const [line] = summarize(measurements);
    expect(line?.sides.ours).toEqual({ median: 400, least: 200, most: 900, rounds: 3 });
    expect(line?.sides.peer).toEqual({ median: 100, least: 100, most: 100, rounds: 1 });
    expect(line?.ratio).toBe(4);
    expect(summarize([measured('ours', 1, 5), measured('peer', 1, undefined)])[0]?.ratio).toBeUndefined();

    const report = {
      benchmark: 'X',
      ours: 'us',
      peer: undefined,
      options: {},
      notes: ['read this'],
      failures: ['that went wrong'],
      measurements,
    };
    const text = formatReport(report);
    expect(text).toContain('peer: no peer');
    expect(text).toMatch(/a case \[B\]\n.*ours +peer +ours \/ peer\n +messages, 1\/s +400 \(200 to 900\) +100 +4\.00 x/);
    expect(text).toContain('VOID: that went wrong');
    expect(JSON.parse(reportAsJson(report))).toMatchObject({ measurements: [{ value: 400 }, {}, {}, {}, {}], summary: [{ ratio: 4 }] });
  });

  it('writes numbers with three digits', () => {
    expect([0, 0.0456, 1.234, 12.34, 123.4, 1234.5, 1_234_567, undefined].map(formatValue)).toEqual([
      '0',
      '0.046',
      '1.23',
      '12.3',
      '123',
      '1,235',
      '1,234,567',
      '-',
    ]);
  });
});
