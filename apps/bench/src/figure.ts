/**
 * One number a benchmark found, and how numbers of several rounds become one line of the report. Pure.
 */
import { median } from './statistics.js';

export type SideName = 'ours' | 'peer' | 'bare';

export interface Figure {
  readonly name: string;
  readonly unit: string;
  /** undefined where it cannot be known, such as the processor time of a server on another machine. */
  readonly value: number | undefined;
  /** It says under which circumstances the others were taken; comparing it between sides says nothing. */
  readonly isContext?: boolean;
}

/** A figure as one side showed it in one round of one case. */
export interface Measurement extends Figure {
  readonly side: SideName;
  readonly caseTitle: string;
  /** What was promised to the publisher while it was measured. */
  readonly promise: string;
  readonly round: number;
}

export interface Summary {
  readonly median: number;
  readonly least: number;
  readonly most: number;
  readonly rounds: number;
}

export interface ReportLine {
  readonly caseTitle: string;
  readonly promise: string;
  readonly name: string;
  readonly unit: string;
  readonly sides: Readonly<Partial<Record<SideName, Summary>>>;
  /** Median of ours over median of the peer, where both were measured. */
  readonly ratio: number | undefined;
}

/** One line per case, promise and figure, in the order in which they were first measured. */
export function summarize(measurements: readonly Measurement[]): ReportLine[] {
  const groups = new Map<string, Measurement[]>();
  for (const measurement of measurements) {
    const key = [measurement.caseTitle, measurement.promise, measurement.name, measurement.unit].join('\n');
    const group = groups.get(key);
    if (group) group.push(measurement);
    else groups.set(key, [measurement]);
  }
  return [...groups.values()].map((group) => {
    const { caseTitle, promise, name, unit, isContext } = group[0] as Measurement;
    const sides: Partial<Record<SideName, Summary>> = {};
    for (const side of ['ours', 'peer', 'bare'] as const) {
      const summary = summarizeValues(group.filter((measurement) => measurement.side === side));
      if (summary) sides[side] = summary;
    }
    const ratio = !isContext && sides.ours && sides.peer && sides.peer.median !== 0 ? sides.ours.median / sides.peer.median : undefined;
    return { caseTitle, promise, name, unit, sides, ratio };
  });
}

function summarizeValues(measurements: readonly Measurement[]): Summary | undefined {
  const values = measurements.map((measurement) => measurement.value).filter((value) => value !== undefined);
  const middle = median(values);
  if (middle === undefined) return undefined;
  return { median: middle, least: Math.min(...values), most: Math.max(...values), rounds: values.length };
}
